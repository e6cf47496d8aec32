//! A proxy before Redis in which scripts meet what they would meet on Dragonfly.
//!
//! Promise: every script that is loaded through it runs with `tests/data/dragonfly-manners.lua` before it: integers
//! from TIME, numbers from ZSCORE, XPENDING that ignores the filter by an unknown consumer, errors that begin
//! otherwise, nothing that Lua 5.4 lacks. Everything else passes as it is.

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    task::JoinSet,
};

use crate::{redis_server, resp::encode};

const MANNERS: &str = include_str!("../data/dragonfly-manners.lua");

/// The proxy; it ends when it is dropped.
pub struct Manners {
    url: String,
    _connections: JoinSet<()>,
}

impl Manners {
    /// Starts one before the server at a port of this machine.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = redis_server::url(listener.local_addr().unwrap().port());
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                open.spawn(async move { drop(serve(client, server).await) }); // the client sees that it was hung up on
            }
        });
        Self { url, _connections: connections }
    }

    /// `redis://…`
    pub fn url(&self) -> &str {
        &self.url
    }
}

/// Until one of the two hangs up; then the other is hung up on.
async fn serve(client: TcpStream, server: u16) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((from_client, mut to_client), (mut from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        forwarded = forward(from_client, to_server) => forwarded,
        copied = copy(&mut from_server, &mut to_client) => copied.map(drop),
    }
}

async fn forward(client: OwnedReadHalf, mut server: OwnedWriteHalf) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    while let Some(mut command) = read(&mut client).await? {
        let is_script = command.len() == 3 && command[0] == b"SCRIPT" && command[1].eq_ignore_ascii_case(b"LOAD");
        if is_script {
            command[2] = [MANNERS.as_bytes(), &command[2]].concat();
        }
        server.write_all(&encode(command.iter().map(Vec::as_slice))).await?;
    }
    Ok(())
}

/// One command; none when the client hung up.
async fn read(client: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Option<Vec<Vec<u8>>>> {
    let Some(n_words) = length(client).await? else { return Ok(None) };
    let mut command = Vec::with_capacity(n_words);
    for _ in 0..n_words {
        let Some(size) = length(client).await? else { return Ok(None) };
        let mut word = vec![0; size + 2];
        client.read_exact(&mut word).await?;
        word.truncate(size);
        command.push(word);
    }
    Ok(Some(command))
}

/// The number in a line `*n` or `$n`.
async fn length(client: &mut BufReader<OwnedReadHalf>) -> std::io::Result<Option<usize>> {
    let mut line = String::new();
    client.read_line(&mut line).await?;
    Ok(line.trim_end().get(1..).and_then(|digits| digits.parse().ok()))
}
