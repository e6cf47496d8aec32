//! The schema's migrations, carried in the binary.

use sqlx::migrate::{Migrate, MigrateError, Migrator};

use super::{connect::Store, error::StoreError, statement::statement};

static MIGRATIONS: Migrator = sqlx::migrate!();

/// How the database's schema stands to this binary's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationState {
    /// Migrations of this binary that the database lacks.
    pub missing: Vec<String>,
}

impl Store {
    /// Applies every migration that is missing; gives their names. Two that migrate at once take turns.
    ///
    /// # Errors
    /// Which migration failed and why; those before it stay applied.
    pub async fn migrate(&self) -> Result<Vec<String>, StoreError> {
        let missing = self.migration_state().await?.missing;
        MIGRATIONS.run(&self.pool).await.map_err(failed)?;
        Ok(missing)
    }

    /// Takes back every migration after `version` (0 for all).
    ///
    /// # Errors
    /// Which migration failed and why.
    pub async fn migrate_down(&self, version: i64) -> Result<(), StoreError> {
        MIGRATIONS.undo(&self.pool, version).await.map_err(failed)
    }

    /// What is missing from the database's schema.
    ///
    /// # Errors
    /// When Postgres cannot be asked.
    pub async fn migration_state(&self) -> Result<MigrationState, StoreError> {
        let table = self.fetch(statement("select to_regclass('_sqlx_migrations') is not null as there")).await?;
        let mut applied = Vec::new();
        if table.first().is_some_and(|row| row.get("there").unwrap_or_default()) {
            let mut connection = self.pool.acquire().await.map_err(StoreError::new("connect to Postgres"))?;
            applied = connection.list_applied_migrations(&MIGRATIONS.table_name).await.map_err(failed)?;
        }
        let is_missing = |version: i64| !applied.iter().any(|migration| migration.version == version);
        let ups = MIGRATIONS.iter().filter(|migration| !migration.migration_type.is_down_migration());
        let missing = ups.filter(|migration| is_missing(migration.version));
        Ok(MigrationState {
            missing: missing.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect(),
        })
    }
}

fn failed(error: MigrateError) -> StoreError {
    StoreError::new("migrate the schema")(match error {
        MigrateError::Execute(error) => error,
        other => sqlx::Error::Migrate(Box::new(other)),
    })
}
