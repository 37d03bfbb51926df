//! Every bound of hivelog, with its unit in its name and its reason beside it.

use std::time::Duration;

/// Ids, seqs and times: 2^53 − 1, the largest integer that a JavaScript number holds exactly.
pub const INTEGER_MAX: i64 = (1 << 53) - 1;
/// The text of one event: what a page can still draw, and one body.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Nesting of a payload, the outermost object included: no reader of ours recurses deeper.
pub const PAYLOAD_DEPTH_MAX: usize = 64;
/// A request body: one event of the largest size.
pub const BODY_BYTES_MAX: usize = 1 << 20;
/// Events in one append: larger batches gain nothing (measured) and hold the writer longer.
pub const BATCH_EVENTS_MAX: usize = 1_000;
/// Text of one append through the crate, so that one command cannot fill a commit.
pub const COMMAND_BYTES_MAX: usize = 16 << 20;
/// Characters of a name, and of an event kind.
pub const NAME_CHARS_MAX: usize = 64;
/// Characters of an idempotency key: room for a hash, a UUID or a path.
pub const KEY_CHARS_MAX: usize = 256;
/// How long an idempotency key is remembered.
pub const KEY_KEPT_MS: i64 = 90 * 24 * 3_600 * 1_000;

/// Open approvals, questions and transients in all, so that a snapshot stays small.
pub const OPEN_ITEMS_MAX: i64 = 10_000;
/// Their text in all.
pub const OPEN_BYTES_MAX: i64 = 64 << 20;
/// Open items of one agent.
pub const OPEN_ITEMS_PER_AGENT_MAX: i64 = 1_000;
/// Their text.
pub const OPEN_BYTES_PER_AGENT_MAX: i64 = 8 << 20;
/// Options of one question: more do not fit on a page that is answered on a phone.
pub const OPTIONS_MAX: usize = 64;
/// How long a transient lasts unrenewed, where nothing is said.
pub const TRANSIENT_LEASE_MS: i64 = 600 * 1_000;
/// How long it may last unrenewed at most.
pub const TRANSIENT_LEASE_MS_MAX: i64 = 24 * 3_600 * 1_000;
/// How long a message that was handed out stays out, where nothing is said.
pub const MESSAGE_LEASE_MS: i64 = 600 * 1_000;
/// How long it may stay out at most.
pub const MESSAGE_LEASE_MS_MAX: i64 = 24 * 3_600 * 1_000;
/// Messages that one call hands out at most.
pub const RECV_MESSAGES_MAX: usize = 100;
/// Messages that one recipient may have out unacknowledged: past it nothing more is handed out, and a scan
/// for the next message stays short.
pub const UNACKED_MAX: i64 = 1_000;
/// Text of the messages that one call hands out, unless a single message is larger.
pub const RECV_BYTES_MAX: usize = 4 << 20;
/// How long a message that is acknowledged is kept, and a question between peers that is closed.
pub const MESSAGE_KEPT_SECONDS: i64 = 30 * 24 * 3_600;
/// Messages that one look for those to be deleted passes, so that the writer is never held up by it.
pub const SWEEP_ROWS: i64 = 500;
/// How long after such a look found no more the next walk begins.
pub const SWEEP_PAUSE: Duration = Duration::from_mins(1);
/// Events that the mirror writes in one transaction: enough to share its sync, few enough to be read at once.
pub const MIRROR_EVENTS: i64 = 512;
/// Their text, unless a single message is larger.
pub const MIRROR_BYTES: usize = 1 << 20;
/// How long a log that is closed waits for the mirror to come to its end. What is left goes on the log at the
/// next opening.
pub const MIRROR_DRAIN: Duration = Duration::from_secs(2);
/// How often what falls due is looked for; a deadline is met that much late.
pub const KEEPER_TICK: Duration = Duration::from_millis(500);

/// Closed approvals, and closed questions, that a snapshot still shows.
pub const RECENT_ITEMS: usize = 50;

/// Commands waiting for the writer; at 300,000 events a second this is 50 ms of work.
pub const QUEUE_JOBS_MAX: usize = 16_384;
/// Their text.
pub const QUEUE_BYTES_MAX: usize = 64 << 20;
/// Commands in one commit: beyond this one fsync is already free (measured).
pub const COMMIT_JOBS_MAX: usize = 4_096;
/// Text in one commit, so that a commit stays in the milliseconds.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;
/// How long the writer waits for a foreign write lock before it answers "try later".
pub const LOCK_WAIT: Duration = Duration::from_secs(5);
/// WAL pages (4 KiB) after which the writer checkpoints between two commits: stalls stay at a few
/// milliseconds (measured).
pub const CHECKPOINT_PAGES: i64 = 1_000;
/// The WAL file is cut back to this after a checkpoint; it bounds recovery to about 15 ms.
pub const WAL_BYTES_KEPT: i64 = 64 << 20;
/// The WAL size past which appends are refused: a reader is holding back every checkpoint.
pub const WAL_BYTES_MAX: i64 = 1 << 30;
/// How often an idle writer looks after its file.
pub const WRITER_TICK: Duration = Duration::from_secs(1);

/// Read-only connections to the file.
pub const READERS_MAX: u32 = 8;
/// Short reads at once; long ones (scans) are capped at one less than the cores.
pub const POINT_READS_MAX: usize = 4;
/// How long one scan keeps its place before it lets another go first.
pub const SCAN_SLICE: Duration = Duration::from_millis(50);
/// How long one page may scan before it is answered with moved cursors.
pub const SCAN_TIME_MAX: Duration = Duration::from_secs(5);
/// How long the fold of a past board may take.
pub const FOLD_TIME_MAX: Duration = Duration::from_secs(10);
/// Text of one page of history, plus at most one event.
pub const PAGE_BYTES_MAX: usize = 4 << 20;
/// Events of one page when nothing is asked.
pub const PAGE_EVENTS: usize = 200;
/// Events of one page at most.
pub const PAGE_EVENTS_MAX: usize = 10_000;
/// Text of one chunk of a replay or a streamed range.
pub const CHUNK_BYTES: usize = 256 << 10;
/// Events of one chunk of a replay or a streamed range.
pub const CHUNK_EVENTS: usize = 2_000;
/// Chunks of a streamed range that are read ahead of a client.
pub const CHUNKS_AHEAD: usize = 3;
/// Values of one repeated filter key.
pub const FILTER_VALUES_MAX: usize = 64;
/// Characters of a search.
pub const QUERY_CHARS_MAX: usize = 1_000;
/// Words of a search.
pub const QUERY_WORDS_MAX: usize = 16;
/// Characters of a word that is looked for: what is longer is found by its beginning.
pub const WORD_CHARS_MAX: usize = 64;
/// Events that the search index takes up in one read of the log, so that no checkpoint waits for it.
pub const INDEX_READ_EVENTS: usize = 500;
/// Events that it writes in one transaction of its own file.
pub const INDEX_COMMIT_EVENTS: usize = 5_000;
/// Text of them.
pub const INDEX_COMMIT_BYTES: usize = 4 << 20;
/// How long the search index leaves new events to a plain scan, so that it takes many at once.
pub const INDEX_PAUSE: Duration = Duration::from_millis(250);
/// Agents that a list of all of them names, those seen last first.
pub const AGENTS_LISTED_MAX: usize = 10_000;
/// Buckets of one activity histogram.
pub const ACTIVITY_BUCKETS_MAX: usize = 1_000;
/// Text kept encoded in memory for live readers.
pub const RECENT_BYTES: usize = 8 << 20;
/// How often a read-only process looks for commits of another one.
pub const FOREIGN_POLL: Duration = Duration::from_millis(20);

/// Characters of a credential: what is longer is none, and is not even hashed.
pub const SECRET_CHARS_MAX: usize = 256;
/// Tokens of one log: they are all kept in memory.
pub const TOKENS_MAX: usize = 10_000;
/// How long a session lasts from its last use.
pub const SESSION_SECONDS: i64 = 30 * 24 * 3_600;
/// How often the use of a session is written down.
pub const SESSION_TOUCH_SECONDS: i64 = 3_600;
/// Sessions of one token; past it the one that was not used for the longest time ends.
pub const SESSIONS_PER_TOKEN_MAX: usize = 1_000;
/// How long a login code can be used.
pub const CODE_SECONDS: i64 = 600;
/// Login codes of one token that wait to be used; past it the oldest ends.
pub const CODES_PER_TOKEN_MAX: usize = 100;
/// Open requests of one token, streams and waits included, unless it is told otherwise.
pub const REQUESTS_PER_TOKEN_MAX: usize = 256;
/// How late the end of a credential by its own time is seen by what it has open.
pub const LAPSE_TICK: Duration = Duration::from_secs(2);

/// Characters of the detail and of the field name of an error: it says what is wrong with what was
/// sent, and does not give it back.
pub const PROBLEM_CHARS_MAX: usize = 256;
/// How long a request may wait for something to happen.
pub const WAIT_MAX: Duration = Duration::from_mins(1);
/// How long request headers may take.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request body may take.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// How long a command may wait for its turn before it is dropped unexecuted.
pub const COMMAND_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections at once.
pub const CONNECTIONS_MAX: usize = 20_000;
/// A pending socket write without progress for this long ends the connection.
pub const WRITE_STALL: Duration = Duration::from_secs(30);
/// Kernel send buffer of one connection, in bytes.
pub const SEND_BUFFER_BYTES: usize = 256 << 10;
/// How long sent bytes may stay unacknowledged before the kernel gives the peer up.
pub const USER_TIMEOUT: Duration = Duration::from_secs(45);
/// hyper's own buffer of one connection, in bytes.
pub const CONNECTION_BUFFER_BYTES: usize = 64 << 10;
/// How long a stopping server waits for open requests.
pub const DRAIN: Duration = Duration::from_secs(4);
/// Time between two heartbeats of a stream.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Bounds of the reconnect delay given to browsers, in milliseconds: spread, so that a restart
/// does not bring every page back in the same instant.
pub const RETRY_MS: std::ops::RangeInclusive<u32> = 1_000..=10_000;
