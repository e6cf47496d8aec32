//! A TCP proxy that does to a server's connections what a network does, without touching the server.
//!
//! Promise: nothing is made up and nothing is reordered; bytes are carried, held up, or never delivered.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// What the network does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    /// Carries.
    Open,
    /// Resets every connection and refuses new ones.
    Cut,
    /// Swallows: connections stay open, and nothing comes through.
    Stalled,
}

/// The state that every connection watches.
#[derive(Clone, Copy, Debug)]
struct Network {
    line: Line,
    /// How long bytes are on their way.
    way: Duration,
    /// The turn of the last stall.
    stalled: u64,
    /// Connections made before this turn stay silent for ever.
    forgotten: u64,
    /// Connections made before this turn end in the middle of the next reply.
    snipped: u64,
    /// How many things have happened.
    turn: u64,
}

/// Stands before one server.
pub struct Proxy {
    address: SocketAddr,
    network: Arc<watch::Sender<Network>>,
    target: Arc<Mutex<String>>,
}

impl Proxy {
    /// A proxy before `host:port`, open.
    pub async fn before(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let beginning =
            Network { line: Line::Open, way: Duration::ZERO, stalled: 0, forgotten: 0, snipped: 0, turn: 0 };
        let network = Arc::new(watch::channel(beginning).0);
        let target = Arc::new(Mutex::new(target));
        let (watched, aimed) = (Arc::clone(&network), Arc::clone(&target));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (target, mut network) = (aim(&aimed), watched.subscribe());
                tokio::spawn(async move {
                    let born = network.borrow_and_update().turn;
                    carry(client, &target, network, born).await;
                });
            }
        });
        Self { address, network, target }
    }

    /// New connections go to another server from now on, as after a failover.
    pub fn lead_to(&self, target: String) {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
    }

    /// `url` with this proxy in the place of its server.
    pub fn url(&self, url: &str) -> String {
        let mut url: url::Url = url.parse().unwrap();
        url.set_host(Some("127.0.0.1")).unwrap();
        url.set_port(Some(self.address.port())).unwrap();
        url.into()
    }

    /// Cuts every connection, in the middle of whatever it carries, and refuses new ones.
    pub fn cut(&self) {
        self.change(|network| network.line = Line::Cut);
    }

    /// Lets connections through again; what was held up by a stall is delivered late.
    pub fn heal(&self) {
        self.change(|network| network.line = Line::Open);
    }

    /// Bytes are on their way for so long from now on, in both directions.
    pub fn lengthen(&self, way: Duration) {
        self.change(|network| network.way = way);
    }

    /// Holds everything up: no byte passes, no connection ends, new ones are taken and hear nothing.
    pub fn stall(&self) {
        self.change(|network| (network.line, network.stalled) = (Line::Stalled, network.turn));
    }

    /// Lets new connections through; those of before the stall stay open and silent, as behind a firewall that forgot them.
    pub fn heal_forgetting(&self) {
        self.change(|network| (network.line, network.forgotten) = (Line::Open, network.stalled));
    }

    /// Ends every connection of now in the middle of the next reply that it carries.
    pub fn snip(&self) {
        self.change(|network| network.snipped = network.turn);
    }

    fn change(&self, change: impl FnOnce(&mut Network)) {
        self.network.send_modify(|network| {
            network.turn += 1;
            change(network);
        });
    }
}

fn aim(target: &Mutex<String>) -> String {
    target.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

/// Host and port of a URL.
pub fn authority(url: &str) -> String {
    let url: url::Url = url.parse().unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
}

/// Until one of the two hangs up or the line is cut; then the other is hung up on.
async fn carry(client: TcpStream, target: &str, mut network: watch::Receiver<Network>, born: u64) {
    if wait_open(&mut network, born).await.is_none() {
        return;
    }
    let Ok(server) = TcpStream::connect(target).await else { return }; // a server that is down refuses too
    drop((client.set_nodelay(true), server.set_nodelay(true))); // slower without, nothing else
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let mut cut = network.clone();
    tokio::select! {
        () = pump((from_client, to_server), network.clone(), (born, false)) => {}
        () = pump((from_server, to_client), network, (born, true)) => {}
        _ = cut.wait_for(|network| network.line == Line::Cut) => {}
    }
}

/// Carries one direction. Replies are what a snip cuts in half.
async fn pump(
    (mut from, mut to): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    mut network: watch::Receiver<Network>,
    (born, replies): (u64, bool),
) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(n_read) = from.read(&mut buffer).await {
        if n_read == 0 || wait_open(&mut network, born).await.is_none() {
            return;
        }
        let way = network.borrow().way;
        if !way.is_zero() {
            tokio::time::sleep(way).await;
        }
        let is_last = replies && network.borrow().snipped > born;
        let passing = if is_last { n_read / 2 } else { n_read };
        if to.write_all(&buffer[..passing]).await.is_err() || is_last {
            return;
        }
    }
}

/// None when the line is cut. A connection that was forgotten waits for ever.
async fn wait_open(network: &mut watch::Receiver<Network>, born: u64) -> Option<()> {
    let carries =
        |network: &Network| network.line == Line::Cut || (network.line == Line::Open && network.forgotten <= born);
    let found = network.wait_for(carries).await.ok()?;
    (found.line == Line::Open).then_some(())
}
