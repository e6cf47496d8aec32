//! Probes of the servers themselves, for `tripsage config check`.

use engine::{
    broker::{Address, BrokerError, Connection, Fitness, ServerVersion},
    keys::Keys,
    store::Store,
};

use super::config::{Answer, DATABASE_TIMEOUT, DRAGONFLY_TIMEOUT, Probe};
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
    let keys = app.keys();
    let dragonfly = async move { dragonfly(&address, &keys).await.unwrap_or_else(|error| Err(error.to_string())) };
    Ok(vec![Probe::new("Postgres", DATABASE_TIMEOUT, postgres), Probe::new("Dragonfly", DRAGONFLY_TIMEOUT, dragonfly)])
}

/// Its name and version, and what to change about it; or why it cannot be used.
async fn dragonfly(address: &Address, keys: &Keys) -> Result<Result<Answer, String>, BrokerError> {
    let connection = Connection::open(address).await?;
    let version = ServerVersion::of(&connection).await?;
    let said = format!("{} {}", version.product, version.version);
    if !version.is_new_enough() {
        return Ok(Err(format!("{said} is too old: expected Dragonfly, or Redis or Valkey 6.2 or later")));
    }
    let fitness = Fitness::of(&connection, keys, version).await?;
    Ok(match fitness.refusal() {
        Some(refusal) => Err(format!("{said} cannot be used: {refusal}")),
        None => Ok(Answer { said, warnings: fitness.warnings() }),
    })
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
