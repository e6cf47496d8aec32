//! A proxy before Redis in which scripts meet what they would meet on Dragonfly.
//!
//! Promise: every script that is loaded through it runs with `tests/data/dragonfly-manners.lua` before it: integers
//! from TIME, numbers from ZSCORE, XPENDING that ignores the filter by an unknown consumer, errors that begin
//! otherwise, nothing that Lua 5.4 lacks. WAIT answers at once. Once a script calls a command that is not safe inside scripts, no connection gets an
//! answer any more, as on the real server. Everything else passes as it is.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

use crate::{conformance::Dragonfly, redis_server, resp::encode};

const MANNERS: &str = include_str!("../data/dragonfly-manners.lua");

/// How a script's error begins that called a command which stops a Dragonfly.
const STOPS: &str = "DRAGONFLYSTOPS";

/// The proxy; it ends when it is dropped.
pub struct Manners {
    url: String,
    port: u16,
    _connections: JoinSet<()>,
}

impl Manners {
    /// Starts one before the server at a port of this machine.
    pub async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stopped = Arc::new(watch::Sender::new(false));
        let mut connections = JoinSet::new();
        connections.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let stopped = Arc::clone(&stopped);
                open.spawn(async move { drop(serve(client, server, &stopped).await) }); // the client sees that it was hung up on
            }
        });
        Self { url: redis_server::url(port), port, _connections: connections }
    }

    /// `redis://…`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it listens, on this machine.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// Until one of the two hangs up; then the other is hung up on. A server that has stopped answers nobody, and hangs up on
/// nobody either.
async fn serve(client: TcpStream, server: u16, stopped: &watch::Sender<bool>) -> std::io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server)).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let ((mut from_client, mut to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut watched = stopped.subscribe();
    let stops = async { watched.wait_for(|stopped| *stopped).await.map(drop) };
    tokio::select! {
        biased;
        _ = stops => ignore(from_client).await,
        forwarded = forward(&mut from_client, to_server) => forwarded,
        answered = answer(from_server, &mut to_client, stopped) => answered,
    }
}

/// Reads what a client sends until it hangs up.
async fn ignore(mut client: OwnedReadHalf) -> std::io::Result<()> {
    let mut bytes = [0; 4096];
    while client.read(&mut bytes).await? > 0 {}
    Ok(())
}

/// Passes the server's replies on; says when one of them is a script's that stops the server, and waits from then on.
async fn answer(
    mut server: OwnedReadHalf,
    client: &mut OwnedWriteHalf,
    stopped: &watch::Sender<bool>,
) -> std::io::Result<()> {
    let (mut bytes, mut last) = (vec![0; 16 * 1024], Vec::new());
    loop {
        let n_bytes = server.read(&mut bytes).await?;
        if n_bytes == 0 {
            return Ok(());
        }
        last.extend_from_slice(&bytes[..n_bytes]);
        if last.windows(STOPS.len()).any(|window| window == STOPS.as_bytes()) {
            stopped.send_replace(true);
            std::future::pending::<()>().await;
        }
        client.write_all(&bytes[..n_bytes]).await?;
        // The word may come in two parts.
        last.drain(..last.len().saturating_sub(STOPS.len() - 1));
    }
}

async fn forward(client: &mut OwnedReadHalf, mut server: OwnedWriteHalf) -> std::io::Result<()> {
    let mut client = BufReader::new(client);
    let prelude = prelude();
    while let Some(mut command) = read(&mut client).await? {
        let is_script = command.len() == 3 && command[0] == b"SCRIPT" && command[1].eq_ignore_ascii_case(b"LOAD");
        if is_script {
            command[2] = [prelude.as_bytes(), &command[2]].concat();
        }
        // Without replicas WAIT does not wait. With some it may say too few here where the real one would have waited.
        if command.len() == 3 && command[0] == b"WAIT" {
            command[1] = b"0".to_vec();
        }
        server.write_all(&encode(command.iter().map(Vec::as_slice))).await?;
    }
    Ok(())
}

/// What stands before a script: which commands are safe in it, and the manners.
fn prelude() -> String {
    let dragonfly = Dragonfly::default();
    let safe: Vec<String> = dragonfly.safe_in_scripts().map(|command| format!("['{command}'] = true")).collect();
    format!("local stops, safe = '{STOPS}', {{{}}}\n{MANNERS}", safe.join(", "))
}

/// One command; none when the client hung up.
async fn read(client: &mut BufReader<&mut OwnedReadHalf>) -> std::io::Result<Option<Vec<Vec<u8>>>> {
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
async fn length(client: &mut BufReader<&mut OwnedReadHalf>) -> std::io::Result<Option<usize>> {
    let mut line = String::new();
    client.read_line(&mut line).await?;
    Ok(line.trim_end().get(1..).and_then(|digits| digits.parse().ok()))
}
