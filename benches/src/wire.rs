//! A bare socket to the server: commands encoded beforehand, answers only counted. What the server itself can do.

use anyhow::{Context as _, ensure};
use fred::types::config::Config;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A bare socket.
pub(crate) struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Wire {
    /// Connects and authenticates.
    pub(crate) async fn connect(url: &str) -> anyhow::Result<Self> {
        let config = Config::from_url(url)?;
        let hosts = config.server.hosts();
        let host = hosts.first().context("the URL names no host")?;
        let stream = TcpStream::connect((&*host.host, host.port)).await?;
        stream.set_nodelay(true)?;
        let mut wire = Self { stream, buffer: vec![0; 1 << 16] };
        if let Some(password) = &config.password {
            let user = config.username.as_deref().unwrap_or("default");
            wire.stream.write_all(&encode(&[b"AUTH", user.as_bytes(), password.as_bytes()])).await?;
            ensure!(wire.lines(1).await? == b'+', "the server refuses the password");
        }
        Ok(wire)
    }

    /// Sends additions at once; returns when all are answered.
    pub(crate) async fn add_all(&mut self, additions: &[Vec<u8>]) -> anyhow::Result<()> {
        let all = additions.concat();
        let (mut reading, mut writing) = self.stream.split();
        let send = async { writing.write_all(&all).await.map_err(anyhow::Error::from) };
        let receive = count_lines(&mut reading, &mut self.buffer, 2 * additions.len());
        let ((), first) = tokio::try_join!(send, receive)?;
        ensure!(first == b'$', "the server refused an addition");
        Ok(())
    }

    /// Sends one addition and waits for its answer.
    pub(crate) async fn add(&mut self, addition: &[u8]) -> anyhow::Result<()> {
        self.stream.write_all(addition).await?;
        ensure!(self.lines(2).await? == b'$', "the server refused an addition");
        Ok(())
    }

    async fn lines(&mut self, n: usize) -> anyhow::Result<u8> {
        count_lines(&mut self.stream, &mut self.buffer, n).await
    }
}

/// Reads so many lines; gives the first byte of all. An error is one line where an id is two, and begins with a minus.
async fn count_lines(from: &mut (impl AsyncReadExt + Unpin), buffer: &mut [u8], n: usize) -> anyhow::Result<u8> {
    let (mut seen, mut first) = (0, None);
    while seen < n {
        let n_read = from.read(buffer).await?;
        ensure!(n_read > 0, "the server closed the connection");
        let read = &buffer[..n_read];
        ensure!(!read.starts_with(b"-"), "the server refused: {}", String::from_utf8_lossy(read));
        first.get_or_insert(read[0]);
        seen += read.iter().filter(|&&byte| byte == b'\n').count();
    }
    first.context("no line was asked for")
}

/// A command in the servers' protocol.
pub(crate) fn encode(args: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        bytes.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        bytes.extend_from_slice(arg);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
