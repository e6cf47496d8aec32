//! A plain connection to a server: for what the service itself never sends, such as MONITOR.

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufStream},
    net::TcpStream,
};

/// One connection.
pub struct Resp {
    stream: BufStream<TcpStream>,
}

impl Resp {
    /// Connects to a port of this machine.
    ///
    /// # Errors
    /// When nothing listens there.
    pub async fn connect(port: u16) -> std::io::Result<Self> {
        Ok(Self { stream: BufStream::new(TcpStream::connect(("127.0.0.1", port)).await?) })
    }

    /// Connects to the server of an address, as the user whose password it carries.
    ///
    /// # Errors
    /// When nothing listens there.
    ///
    /// # Panics
    /// When the address is none, or the server refuses the password.
    pub async fn open(url: &str) -> std::io::Result<Self> {
        let url: url::Url = url.parse().unwrap();
        let at = (url.host_str().unwrap(), url.port().unwrap_or(6379));
        let mut opened = Self { stream: BufStream::new(TcpStream::connect(at).await?) };
        if let Some(password) = url.password() {
            let user = if url.username().is_empty() { "default" } else { url.username() };
            assert_eq!(opened.ask(&["AUTH", user, password]).await?, "OK");
        }
        Ok(opened)
    }

    /// Sends a command; gives its reply's text (`-…` for an error), or the first line of a longer reply.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn ask(&mut self, command: &[&str]) -> std::io::Result<String> {
        self.stream.write_all(&encode(command.iter().map(|word| word.as_bytes()))).await?;
        self.stream.flush().await?;
        let first = self.line().await?;
        let Some(length) = first.strip_prefix('$').and_then(|length| length.parse::<usize>().ok()) else {
            return Ok(first.trim_start_matches(['+', ':']).to_owned());
        };
        let mut text = vec![0; length + 2];
        self.stream.read_exact(&mut text).await?;
        Ok(String::from_utf8_lossy(&text[..length]).into_owned())
    }

    /// The next line, as it is.
    ///
    /// # Errors
    /// When the connection ends.
    pub async fn line(&mut self) -> std::io::Result<String> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

/// A command as clients send it.
pub(crate) fn encode<'a>(words: impl ExactSizeIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut encoded = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        encoded.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        encoded.extend_from_slice(word);
        encoded.extend_from_slice(b"\r\n");
    }
    encoded
}
