//! The HTTP door.

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::Log;

/// Serves the log until `stop` is cancelled.
pub async fn serve(_log: Log, _listener: TcpListener, stop: CancellationToken) {
    stop.cancelled().await;
}
