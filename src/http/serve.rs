//! The accept loop: limits at the socket, and an end within five seconds.

use std::convert::Infallible;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use futures_util::future::join_all;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use prometheus_client::metrics::gauge::Gauge;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::{Service, ServiceExt as _};

use crate::http::listener::{Accepted, Bound, Listener};
use crate::http::socket::Socket;
use crate::http::{Access, app};
use crate::limits::{CONNECTION_BUFFER_BYTES, CONNECTIONS_MAX, DRAIN, HEADER_TIMEOUT};
use crate::log::Log;
use crate::metrics::Metrics;

/// Serves a log on a port until `stop` is cancelled, then ends streams and waits, lets other requests
/// finish, and returns within five seconds. The log stays open.
///
/// HTTP/1.1 only: on a connection shared by many streams the one that stalls would not be seen at the
/// socket.
pub async fn serve(log: Log, listener: TcpListener, access: Access, stop: CancellationToken) {
    serve_on(log, vec![listener.into()], access, stop).await;
}

/// The same on several listeners, which share the limits.
pub async fn serve_on(log: Log, listeners: Vec<Listener>, access: Access, stop: CancellationToken) {
    let access = listeners.iter().fold(access, with_own_address);
    let app = app(log.clone(), access, stop.clone());
    let hall = Hall {
        places: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        tracker: TaskTracker::new(),
        metrics: Arc::clone(&log.shared().metrics),
        stop,
        end: watch::Sender::new(End::NotYet),
    };
    join_all(listeners.into_iter().map(|listener| {
        let app = app.clone();
        let bound = listener.agent().map(Bound::to);
        let app = app.map_request(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            if let Some(bound) = &bound {
                request.extensions_mut().insert(bound.clone());
            }
            request
        });
        hall.let_in(listener, app)
    }))
    .await;
    hall.close().await;
}

/// Where credentials are asked for, the address that is listened on is a name of this server too.
fn with_own_address(access: Access, listener: &Listener) -> Access {
    match listener.host() {
        Some(host) if access.asks => access.host(&host),
        Some(_) | None => access,
    }
}

/// Where connections are, whichever listener they came through.
struct Hall {
    places: Arc<Semaphore>,
    tracker: TaskTracker,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
    /// What connections are told: of one sender, since a connection asks for it each time it is awake.
    end: watch::Sender<End>,
}

/// How connections come to their end.
#[derive(Clone, Copy, Debug)]
enum End {
    NotYet,
    /// With the request that is under way.
    Soon,
    Now,
}

impl Hall {
    /// Takes connections until the server stops.
    async fn let_in<A>(&self, listener: Listener, app: A)
    where
        A: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
        A::Future: Send,
    {
        loop {
            let place = tokio::select! {
                place = Arc::clone(&self.places).acquire_owned() => place,
                () = self.stop.cancelled() => break,
            };
            let Ok(place) = place else { break };
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.stop.cancelled() => break,
            };
            match accepted {
                Ok(Accepted::Tcp(stream)) => self.serve(Socket::tcp(stream), app.clone(), place),
                Ok(Accepted::Unix(stream)) => self.serve(Socket::unix(stream), app.clone(), place),
                Err(error) => {
                    // Out of descriptors, most likely: those in use come back.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn serve<S, A>(&self, socket: std::io::Result<Socket<S>>, app: A, place: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
        A: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
        A::Future: Send,
    {
        // One whose peer is gone already needs no answer.
        if let Ok(socket) = socket {
            let metrics = Arc::clone(&self.metrics);
            let end = self.end.subscribe();
            self.tracker.spawn(async move {
                let _counted = Counted::new(&metrics, place);
                connection(socket, app, end).await;
            });
        }
    }

    /// Waits for the connections that are left, and cuts those that would not end.
    async fn close(self) {
        self.tracker.close();
        self.end.send_replace(End::Soon);
        if tokio::time::timeout(DRAIN, self.tracker.wait()).await.is_err() {
            tracing::warn!(connections = self.tracker.len(), "connections that would not end were cut");
            self.end.send_replace(End::Now);
            self.tracker.wait().await;
        }
    }
}

/// A connection that has its place and is counted, until this is dropped.
struct Counted {
    gauge: Gauge,
    _place: OwnedSemaphorePermit,
}

impl Counted {
    fn new(metrics: &Metrics, place: OwnedSemaphorePermit) -> Self {
        metrics.connections.inc();
        Self { gauge: metrics.connections.clone(), _place: place }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

async fn connection<S, A>(socket: Socket<S>, app: A, mut end: watch::Receiver<End>)
where
    S: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static,
    A: Service<Request<Incoming>, Response = Response, Error = Infallible> + Clone + Send + 'static,
    A::Future: Send,
{
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(CONNECTION_BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(app));
    tokio::pin!(served);
    loop {
        tokio::select! {
            biased;
            // A peer that goes away, stalls or sends rubbish is not this server's fault.
            _ended = served.as_mut() => return,
            told = end.changed() => match (told, *end.borrow_and_update()) {
                (Ok(()), End::NotYet) => {}
                (Ok(()), End::Soon) => served.as_mut().graceful_shutdown(),
                // Nobody is there to wait for it, or nobody waits any longer.
                (Ok(()), End::Now) | (Err(_), _) => return,
            },
        }
    }
}
