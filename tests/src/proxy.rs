//! A TCP proxy that can be cut: what a network does to a server, without touching the server.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

/// Stands before one server.
pub struct Proxy {
    address: SocketAddr,
    connected: Arc<watch::Sender<bool>>,
}

impl Proxy {
    /// A proxy before `host:port`, open.
    pub async fn before(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connected = Arc::new(watch::channel(true).0);
        let cuts = Arc::clone(&connected);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let target = target.clone();
                let mut connected = cuts.subscribe();
                tokio::spawn(async move {
                    if *connected.borrow_and_update() {
                        carry(client, &target, connected).await;
                    }
                });
            }
        });
        Self { address, connected }
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
        self.connected.send_replace(false);
    }

    /// Lets connections through again.
    pub fn heal(&self) {
        self.connected.send_replace(true);
    }
}

/// Host and port of a URL.
pub fn authority(url: &str) -> String {
    let url: url::Url = url.parse().unwrap();
    format!("{}:{}", url.host_str().unwrap(), url.port().unwrap())
}

async fn carry(mut client: TcpStream, target: &str, mut connected: watch::Receiver<bool>) {
    let mut server = TcpStream::connect(target).await.unwrap();
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = connected.wait_for(|connected| !connected) => {}
    }
}
