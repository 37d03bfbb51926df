//! The accept loop: limits at the socket, and an end within five seconds.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::http::socket::Socket;
use crate::http::{Access, router_until};
use crate::limits::{CONNECTION_BUFFER_BYTES, CONNECTIONS_MAX, DRAIN, HEADER_TIMEOUT};
use crate::log::Log;

/// Serves a log on a listener until `stop` is cancelled, then ends streams and waits, lets other requests
/// finish, and returns within five seconds. The log stays open.
///
/// HTTP/1.1 only: on a connection shared by many streams the one that stalls would not be seen at the
/// socket.
pub async fn serve(log: Log, listener: TcpListener, access: Access, stop: CancellationToken) {
    let app = router_until(log, with_own_address(access, &listener), stop.clone());
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let tracker = TaskTracker::new();
    let abort = CancellationToken::new();
    loop {
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = stop.cancelled() => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                tracker.spawn(connection(stream, app.clone(), place, stop.clone(), abort.clone()));
            }
            Err(error) => {
                // Out of descriptors, most likely: those in use come back.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(DRAIN, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "connections that would not end were cut");
        abort.cancel();
        tracker.wait().await;
    }
}

/// Where credentials are asked for, the address that is listened on is a name of this server too.
fn with_own_address(access: Access, listener: &TcpListener) -> Access {
    match listener.local_addr() {
        Ok(address) if access.asks && !address.ip().is_unspecified() => {
            access.host(&address.ip().to_string())
        }
        Ok(_) | Err(_) => access,
    }
}

async fn connection(
    stream: TcpStream,
    app: Router,
    _place: OwnedSemaphorePermit,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    let Ok(socket) = Socket::new(stream) else { return };
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(CONNECTION_BUFFER_BYTES)
        .serve_connection(TokioIo::new(socket), TowerToHyperService::new(app));
    tokio::pin!(served);
    let mut draining = false;
    loop {
        tokio::select! {
            // A peer that goes away, stalls or sends rubbish is not this server's fault.
            _ended = served.as_mut() => return,
            () = stop.cancelled(), if !draining => {
                draining = true;
                served.as_mut().graceful_shutdown();
            }
            () = abort.cancelled() => return,
        }
    }
}
