//! Lua scripts: loaded when the server does not have them, then called by their digest.

use fred::types::Value;
use tokio::sync::OnceCell;

use super::{
    connection::{BrokerError, BrokerErrorKind, Connection, text},
    reply,
};

/// One script. Its caller declares every key it touches, all under one hash tag.
pub(crate) struct Script {
    name: &'static str,
    source: &'static str,
    digest: OnceCell<String>,
}

impl Script {
    pub(crate) const fn new(name: &'static str, source: &'static str) -> Self {
        Self { name, source, digest: OnceCell::const_new() }
    }

    /// Runs it; a server that has lost its scripts is given this one again.
    pub(crate) async fn run(
        &self,
        connection: &Connection,
        keys: &[&str],
        args: Vec<Value>,
    ) -> Result<Value, BrokerError> {
        self.run_on(connection, keys.iter().map(|key| text(*key)).collect(), args).await
    }

    /// The same where the keys are arguments already.
    pub(crate) async fn run_on(
        &self,
        connection: &Connection,
        keys: Vec<Value>,
        args: Vec<Value>,
    ) -> Result<Value, BrokerError> {
        // Of many calls that are the first together, one loads it.
        let digest = self.digest.get_or_try_init(|| self.load(connection)).await?;
        let call = self.call(digest, keys, args);
        match connection.call_for(self.name, "EVALSHA", call.clone()).await {
            Err(error) if error.kind() == BrokerErrorKind::NoScript => {
                // By the name that this server gives it, whatever another one called it.
                let mut call = call;
                call[0] = text(self.load(connection).await?);
                connection.call_for(self.name, "EVALSHA", call).await
            }
            answered => answered,
        }
    }

    fn call(&self, digest: &str, keys: Vec<Value>, args: Vec<Value>) -> Vec<Value> {
        let mut call = Vec::with_capacity(2 + keys.len() + args.len());
        call.push(text(digest));
        call.push(Value::from(i64::try_from(keys.len()).expect("a handful of keys")));
        call.extend(keys);
        call.extend(args);
        call
    }

    async fn load(&self, connection: &Connection) -> Result<String, BrokerError> {
        let loaded = connection.call_for(self.name, "SCRIPT", vec![text("LOAD"), text(self.source)]).await?;
        reply::text(&loaded).ok_or_else(|| BrokerError::odd(self.name, &loaded))
    }
}
