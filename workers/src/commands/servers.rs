//! Probes of the servers themselves, for `tripsage config check`.

use engine::{
    broker::{Connection, ServerVersion},
    store::Store,
};

use super::config::{DATABASE_TIMEOUT, DRAGONFLY_TIMEOUT, Probe};
use crate::app::App;

/// A real connection to Postgres and to Dragonfly each.
///
/// # Errors
/// When an address is none.
pub fn probes(app: &App) -> anyhow::Result<Vec<Probe>> {
    let (address, connector) = (app.address()?, app.connector());
    let postgres = async move {
        let store = connector.connect().await.map_err(|error| format!("{error:#}"))?;
        postgres(&store).await.map_err(|error| error.to_string())
    };
    let dragonfly = async move {
        let connection = Connection::open(&address).await.map_err(|error| error.to_string())?;
        let version = ServerVersion::of(&connection).await.map_err(|error| error.to_string())?;
        let said = format!("{} {}", version.product, version.version);
        if version.is_new_enough() {
            Ok(said)
        } else {
            Err(format!("{said} is too old: expected Dragonfly, or Redis or Valkey 6.2 or later"))
        }
    };
    Ok(vec![Probe::new("Postgres", DATABASE_TIMEOUT, postgres), Probe::new("Dragonfly", DRAGONFLY_TIMEOUT, dragonfly)])
}

async fn postgres(store: &Store) -> Result<String, engine::store::StoreError> {
    let versions = store.versions().await?;
    let missing = store.migration_state().await?.missing;
    let schema = if missing.is_empty() {
        "schema up to date".to_owned()
    } else {
        format!("schema lacks {}", missing.join(", "))
    };
    Ok(format!("{}, pgvector {}, {schema}", versions.server, versions.vector.as_deref().unwrap_or("none")))
}
