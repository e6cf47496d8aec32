//! The database of one scenario: migrated, with a table of side effects; and the questions put to it.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use engine::{
    job::JobId,
    policy::{Durability, Policy},
};
use sqlx::{
    AssertSqlSafe, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use uuid::Uuid;

use super::{cluster::Cluster, kinds::CHAOS};
use crate::fixture::{connected, database, fresh_database};

/// Where a scenario's database lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// On the run's server.
    Shared,
    /// On a server of its own.
    Own,
    /// On a server of its own, its tables on a small disk.
    SmallDisk,
}

/// The database.
pub(super) struct Database {
    /// `postgres://…`
    pub(super) url: String,
    /// For the scenario's own questions.
    pub(super) pool: PgPool,
}

/// A job that is done.
#[derive(Clone, Debug)]
pub(super) struct Done {
    /// Which worker committed it.
    pub(super) worker: String,
    /// When it began, by the server's clock.
    pub(super) started_at: DateTime<Utc>,
    /// When it was committed.
    pub(super) committed_at: DateTime<Utc>,
}

const EFFECTS: &str = "create table chaos_effects (job uuid not null, attempt int not null, worker text not null, n int not null check (n >= 0))";

impl Database {
    /// Made on the run's server, or on the scenario's own.
    pub(super) async fn make(cluster: Option<&Cluster>, small_disk: Option<&std::path::Path>) -> anyhow::Result<Self> {
        let url = match cluster {
            None => fresh_database().await,
            Some(cluster) => {
                let mut admin = PgConnection::connect(&cluster.url("postgres")).await?;
                let mut create = "create database chaos".to_owned();
                if let Some(disk) = small_disk {
                    let space = format!("create tablespace small location '{}'", disk.join("space").display());
                    sqlx::query(AssertSqlSafe(space)).execute(&mut admin).await?;
                    create.push_str(" tablespace small");
                }
                sqlx::query(AssertSqlSafe(create)).execute(&mut admin).await?;
                let url = cluster.url("chaos");
                let store = connected(&database(&url)).await?;
                store.migrate().await?;
                store.close().await;
                url
            }
        };
        // A role may be called like the service's schema: the table of effects stands where the service looks all the same.
        let options = url.parse::<PgConnectOptions>()?.options([("search_path", "public")]);
        let pool = PgPoolOptions::new().max_connections(3).connect_with(options).await?;
        sqlx::query(EFFECTS).execute(&pool).await?;
        Ok(Self { url, pool })
    }

    /// Decides how safe "accepted" is in the scenario's queue.
    pub(super) async fn promise(&self, durability: Durability) -> anyhow::Result<()> {
        let policy = serde_json::to_value(Policy { durability: Some(durability), ..Policy::default() })?;
        let insert = sqlx::query("insert into queue_policies (queue, policy) values ($1, $2)");
        insert.bind(CHAOS.as_str()).bind(policy).execute(&self.pool).await?;
        Ok(())
    }

    /// Every job with a committed result.
    pub(super) async fn done(&self) -> anyhow::Result<HashMap<JobId, Done>> {
        let rows: Vec<(Uuid, String, DateTime<Utc>, DateTime<Utc>)> =
            sqlx::query_as("select id, worker, started_at, committed_at from job_results")
                .fetch_all(&self.pool)
                .await?;
        let done = rows
            .into_iter()
            .map(|(id, worker, started_at, committed_at)| (JobId(id), Done { worker, started_at, committed_at }));
        Ok(done.collect())
    }

    /// Every job that was given up, and when.
    pub(super) async fn dead(&self) -> anyhow::Result<HashMap<JobId, DateTime<Utc>>> {
        let rows: Vec<(Uuid, DateTime<Utc>)> =
            sqlx::query_as("select id, died_at from dead_jobs where redriven_at is null").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(id, at)| (JobId(id), at)).collect())
    }

    /// How often each job's effect was written.
    pub(super) async fn effects(&self) -> anyhow::Result<HashMap<JobId, i64>> {
        let rows: Vec<(Uuid, i64)> =
            sqlx::query_as("select job, count(*) from chaos_effects group by job").fetch_all(&self.pool).await?;
        Ok(rows.into_iter().map(|(id, n_rows)| (JobId(id), n_rows)).collect())
    }

    /// How many jobs are accepted and not settled, as the journal sees it.
    pub(super) async fn n_journaled(&self) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar("select count(*) from job_journal").fetch_one(&self.pool).await?)
    }

    /// How many jobs are done.
    pub(super) async fn n_done(&self) -> anyhow::Result<i64> {
        Ok(sqlx::query_scalar("select count(*) from job_results").fetch_one(&self.pool).await?)
    }
}
