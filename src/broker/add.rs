//! Adds ready jobs to one stream, many in a call: the same entries as an addition each, at the price of one command.

use bytes::Bytes;

use super::{
    MAX_PER_SCRIPT,
    connection::{self, BrokerError, Connection, text},
    script::Script,
};
use crate::keys::JOB_FIELD;

static ADD: Script = Script::new("add", include_str!("add.lua"));

/// Adds these envelopes to a stream, in their order, at most [`MAX_PER_SCRIPT`] of them.
///
/// # Errors
/// What the server said to the first that it did not take, or that it could not be asked; some may have been added.
pub(super) async fn add(connection: &Connection, lane: &str, envelopes: Vec<Bytes>) -> Result<(), BrokerError> {
    debug_assert!(envelopes.len() <= MAX_PER_SCRIPT, "a script call stays short");
    let mut args = Vec::with_capacity(1 + envelopes.len());
    args.push(text(JOB_FIELD));
    args.extend(envelopes.into_iter().map(connection::bytes));
    ADD.run(connection, &[lane], args).await.map(drop)
}
