//! Threads that carry the IDE's traffic, each with a runtime of its own.
//!
//! A tunnelled request is short work between two sockets. Where threads take work from one another, nearly every answer
//! woke one more of them to find that nothing was left to take; here a connection, and the ones to workspaces that it
//! uses, stay on the thread that accepted it.
use crate::{
    http::{
        gateway::tunnel::{Tunnel, TunnelFace},
        server::{self, Places},
    },
    model::settings::Limits,
};
use std::{io, sync::Arc, thread};
use tokio::{
    net::TcpListener,
    runtime,
    sync::{oneshot, watch},
    task::JoinHandle,
};

/// Starts as many as `threads` says; each accepts from `listener` until `drained` is true. The handle ends with the last.
pub fn start(
    listener: TcpListener,
    tunnel: &Arc<Tunnel>,
    threads: usize,
    limits: &Limits,
    drained: &watch::Receiver<bool>,
) -> io::Result<JoinHandle<()>> {
    let places = Places::of(limits);
    let listener = listener.into_std()?;
    let carrier = || {
        Carrier {
            listener: listener.try_clone()?,
            tunnel: tunnel.clone(),
            limits: limits.clone(),
            places: places.clone(),
            drained: drained.clone(),
        }
        .start()
    };
    let carriers = (0..threads).map(|_| carrier()).collect::<io::Result<Vec<_>>>()?;
    Ok(tokio::spawn(ended(carriers)))
}

/// They share their places, so each that cuts connections tells of all.
async fn ended(carriers: Vec<Ended>) {
    let mut most_cut = 0;
    for carrier in carriers {
        match carrier.await {
            Ok(Ok(cut)) => most_cut = most_cut.max(cut),
            Ok(Err(error)) => tracing::error!(%error, "a thread of the tunnel cannot listen"),
            Err(_) => tracing::error!("a thread of the tunnel panicked"),
        }
    }
    super::tell_cut(most_cut);
}

/// How many connections were cut at its end.
type Ended = oneshot::Receiver<io::Result<usize>>;

struct Carrier {
    listener: std::net::TcpListener,
    tunnel: Arc<Tunnel>,
    limits: Limits,
    places: Places,
    drained: watch::Receiver<bool>,
}

impl Carrier {
    fn start(self) -> io::Result<Ended> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let (done, over) = oneshot::channel();
        thread::Builder::new().name("tunnel".to_owned()).spawn(move || {
            let ended = runtime.block_on(self.carry());
            _ = done.send(ended); // who does not wait for the end does not need to know of it
        })?;
        Ok(over)
    }

    async fn carry(mut self) -> io::Result<usize> {
        let listener = TcpListener::from_std(self.listener)?;
        let told = async { _ = self.drained.wait_for(|drain| *drain).await };
        let (face, traffic) = (TunnelFace::new(&self.tunnel), self.tunnel.traffic());
        Ok(server::serve_within(listener, face, &self.limits, &self.places, traffic, told).await)
    }
}
