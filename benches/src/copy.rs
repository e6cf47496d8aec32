//! Postgres alone, by binary COPY: what the fastest way into a table gives, beside UNNEST.

use std::time::Instant;

use bytes::{BufMut as _, BytesMut};
use uuid::Uuid;

use crate::{
    corner::{Corner, PAD},
    samples::per_second,
};

const COPY: &str = "copy bench_rows from stdin (format binary)";
const N_COLUMNS: i16 = 3;

/// Rows per second into `bench_rows`, so many a statement, over one connection; nothing else is done.
pub(crate) async fn copy(corner: &mut Corner, n_jobs: usize, n_rows: usize) -> anyhow::Result<f64> {
    let begun = Instant::now();
    for first in (0..n_jobs).step_by(n_rows) {
        let mut copy = corner.postgres.copy_in_raw(COPY).await?;
        copy.send(rows(first..n_jobs.min(first + n_rows)).freeze()).await?;
        copy.finish().await?;
    }
    let rate = per_second(n_jobs, begun.elapsed());
    corner.verify_rows(n_jobs).await?;
    Ok(rate)
}

/// A whole COPY in Postgres' binary form: its head, the rows, its end.
fn rows(numbers: std::ops::Range<usize>) -> BytesMut {
    let pad = "x".repeat(PAD);
    let mut bytes = BytesMut::with_capacity(384 * numbers.len() + 32);
    bytes.put_slice(b"PGCOPY\n\xff\r\n\0");
    bytes.put_i64(0); // No flags, no extension.
    for n in numbers {
        bytes.put_i16(N_COLUMNS);
        field(&mut bytes, Uuid::now_v7().as_bytes());
        field(&mut bytes, b"bench.noop");
        // jsonb begins with its version.
        field(&mut bytes, format!("\u{1}{{\"n\":{n},\"pad\":\"{pad}\"}}").as_bytes());
    }
    bytes.put_i16(-1);
    bytes
}

fn field(bytes: &mut BytesMut, value: &[u8]) {
    bytes.put_i32(i32::try_from(value.len()).expect("a field is short"));
    bytes.put_slice(value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_its_head_its_rows_and_its_end() {
        let empty = rows(0..0);
        assert_eq!(&empty[..], b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\0\xff\xff");
        let row = (rows(0..3).len() - empty.len()) / 3;
        assert_eq!(row, 2 + 3 * 4 + 16 + 10 + 1 + 300);
    }
}
