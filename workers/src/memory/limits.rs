//! The numbers that the memory jobs and their statements share.

/// The most items in one job.
pub(super) const MAX_ITEMS: usize = 1_000;
/// The longest text of an item or a query.
pub(super) const MAX_TEXT_BYTES: usize = 32 * 1_024;
/// The largest metadata of an item, as JSON.
pub(super) const MAX_METADATA_BYTES: usize = 16 * 1_024;
/// The longest id of a user, run, agent or client.
pub(super) const MAX_ID_BYTES: usize = 255;
/// The most memories that a search gives.
pub(super) const MAX_TOP_K: u32 = 50;

/// The advisory lock under which the vector columns are added: the letters `tsmemsch`.
pub(super) const SCHEMA_LOCK: i64 = 0x7473_6d65_6d73_6368;
/// The advisory lock that the indexing worker holds, one in the fleet: the letters `tsmemidx`.
pub(super) const INDEX_LOCK: i64 = 0x7473_6d65_6d69_6478;

/// Checks an id that someone else chose.
pub(super) fn check_id(field: &str, id: &str) -> Result<(), String> {
    if id.is_empty() || id.len() > MAX_ID_BYTES || id.contains(char::is_control) {
        return Err(format!(
            "{field} has {} bytes: expected 1 to {MAX_ID_BYTES}, without control characters",
            id.len()
        ));
    }
    Ok(())
}

/// Whether `value` holds a zero byte, which Postgres' jsonb cannot.
pub(super) fn has_nul(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => text.contains('\0'),
        serde_json::Value::Array(values) => values.iter().any(has_nul),
        serde_json::Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}
