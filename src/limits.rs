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
/// Open questions of a list between peers, and their text, the oldest first: as much as one agent may have asked. What
/// is put to one agent comes of many.
pub const OPEN_ITEMS_LISTED: usize = 1_000;
/// See [`OPEN_ITEMS_LISTED`].
pub const OPEN_BYTES_LISTED: usize = 8 << 20;
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

/// Days that `sent` and `delivered` are kept, where nothing is said.
pub const KEPT_DAYS: u64 = 30;
/// What is younger is kept by every rule: a live reader that was cut off comes back for it.
pub const KEPT_MS_MIN: i64 = 600 * 1_000;
/// Events that are pruned in one commit, and their text unless a single one is larger: a few milliseconds of
/// the writer (measured).
pub const PRUNE_EVENTS: u64 = 64;
/// See [`PRUNE_EVENTS`].
pub const PRUNE_BYTES: i64 = 64 << 10;
/// How long the keeper prunes before it looks after other things.
pub const PRUNE_SLICE: Duration = Duration::from_millis(250);
/// How long after nothing was left to prune it is looked for again.
pub const PRUNE_PAUSE: Duration = Duration::from_secs(10);
/// How long a redaction waits for readers that hold old pages, and for the search index to be built anew.
pub const WIPE_PATIENCE: Duration = Duration::from_secs(2);
/// How long the keeper goes on wiping out what was redacted before it looks after other things.
pub const WIPE_SLICE: Duration = Duration::from_millis(100);
/// Pages (4 KiB) that are given back to the disk in one commit.
pub const GIVE_BACK_PAGES: u32 = 16;
/// Empty pages that a file keeps beside a sixteenth of it: what is pruned makes room for what comes.
pub const FREE_PAGES_KEPT: i64 = 256;

/// A board of this many bytes is kept in memory as it was shown last, so that the next one reads only what is
/// new: ten thousand items of a kilobyte and a half. A larger one is read whole each time.
pub const BOARD_KEPT_BYTES: usize = 16 << 20;
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
/// One page of the file, in bytes.
pub const PAGE_BYTES: i64 = 4_096;
/// WAL pages (4 KiB) after which the writer checkpoints between two commits. Each costs its syncs, and at 2,000 events
/// a second one append in two hundred meets one where they come after 1,000 pages; but the longer the WAL, the longer
/// SQLite looks for a page that is in it many times: instructions of a lone append +8 % with 2,000, +25 % with 4,000
/// (measured).
pub const CHECKPOINT_PAGES: i64 = 2_000;
/// As many, where the WAL has no more room than [`WAL_BYTES_MAX_LEAST`].
pub const CHECKPOINT_PAGES_LEAST: i64 = 1_000;
/// Frames of the WAL after which the writer says that they are on disk: a start after a kill writes no more than so
/// many once more, and the last commit.
pub const SYNCED_FRAMES: u64 = 32;
/// The WAL file is cut back to this after a checkpoint; it bounds recovery to about 15 ms.
pub const WAL_BYTES_KEPT: i64 = 64 << 20;
/// The WAL size past which appends are refused: a reader is holding back every checkpoint.
pub const WAL_BYTES_MAX: i64 = 1 << 30;
/// The least that this may be set to: two checkpoints apart.
pub const WAL_BYTES_MAX_LEAST: i64 = 2 * CHECKPOINT_PAGES_LEAST * PAGE_BYTES;
/// How long every checkpoint has to be held back before that is told: readers come and go.
pub const WAL_HELD_TOLD: Duration = Duration::from_secs(10);
/// Pages that a backup copies in one step: what is synced at once (4 MiB) does not hold up a commit.
pub const BACKUP_STEP_PAGES: i32 = 1_024;
/// Free space of a disk below which the doctor says so: what a WAL is left with, and a commit.
pub const FREE_BYTES_MIN: u64 = 2 * WAL_BYTES_KEPT.unsigned_abs();
/// How long a checkpoint waits for readers, once a second at most, before they are taken for ones that stay.
pub const WAL_PATIENCE: Duration = Duration::from_millis(50);
/// How often an idle writer looks after its file.
pub const WRITER_TICK: Duration = Duration::from_secs(1);
/// Such looks that a writer may miss before the watchdog, where it is impatient, hears of it.
pub const WRITER_TICKS_MISSED: u32 = 3;
/// How long a writer may take for one turn before the log is not ready: longer than it waits for a foreign lock,
/// and than a disk takes that has not failed.
pub const WRITER_SILENCE_MAX: Duration = Duration::from_secs(15);

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
/// Text of a part of a page, which goes out while the next one is read; a page that is shorter goes out whole.
/// To wake who sends it costs as much as the reading of fifty events (measured).
pub const PAGE_PART_BYTES: usize = 128 << 10;
/// Parts of one page and its end: a page does not wait for the one who takes it.
pub const PAGE_PARTS_MAX: usize = PAGE_BYTES_MAX / PAGE_PART_BYTES + 2;
/// Events of one page when nothing is asked.
pub const PAGE_EVENTS: usize = 200;
/// Events of one page at most.
pub const PAGE_EVENTS_MAX: usize = 10_000;
/// Text of one chunk of a streamed range: what it costs to hand one over is not seen in half a megabyte.
pub const CHUNK_BYTES: usize = 512 << 10;
/// Text of one chunk of a replay: a subscriber that does not read holds one, and there may be thousands.
pub const REPLAY_BYTES: usize = 64 << 10;
/// Chunks of replays that are kept for whoever replays the same.
pub const REPLAYS_KEPT: usize = 64;
/// Events of one chunk of a replay.
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
/// Events that a search looks at for a beginning of three letters before it asks for all of a longer one: a few
/// milliseconds.
pub const INDEX_BROAD_EVENTS: usize = 2_000;
/// Events that the search index takes up in one read of the log, so that no checkpoint waits for it.
pub const INDEX_READ_EVENTS: usize = 500;
/// Text of them, for the same reason.
pub const INDEX_READ_BYTES: usize = 512 << 10;
/// Events that it writes in one transaction of its own file.
pub const INDEX_COMMIT_EVENTS: usize = 5_000;
/// Text of them.
pub const INDEX_COMMIT_BYTES: usize = 4 << 20;
/// Events a second beyond which the search index leaves the machine to those who append: it spends three times the
/// instructions of the log's writer on an event (callgrind, 64 connections).
pub const INDEX_FLOOD_EVENTS_PER_SECOND: u64 = 10_000;
/// How long it does so; then it works beside them.
pub const INDEX_REST: Duration = Duration::from_secs(10);
/// Events that it leaves to a plain scan at most while it rests: a quarter of a second for a word that is nowhere.
pub const INDEX_REST_EVENTS: i64 = 500_000;
/// How long the search index leaves new events to a plain scan, so that it takes many at once.
pub const INDEX_PAUSE: Duration = Duration::from_millis(250);
/// How often the search index looks for what was pruned among all that it has, where many kinds are kept longer
/// than others; what the floor passes it takes out at once.
pub const INDEX_SWEEP: Duration = Duration::from_hours(1);
/// Agents that a list of all of them names, those seen last first.
pub const AGENTS_LISTED_MAX: usize = 10_000;
/// Buckets of one activity histogram when nothing is asked.
pub const ACTIVITY_BUCKETS: usize = 60;
/// Buckets of one activity histogram.
pub const ACTIVITY_BUCKETS_MAX: usize = 1_000;
/// Text kept encoded in memory for live readers.
pub const RECENT_BYTES: usize = 8 << 20;
/// How often a read-only process looks for commits of another one: some microseconds each.
pub const FOREIGN_POLL: Duration = Duration::from_millis(10);
/// Text of one answer to a question in SQL: it is held in memory.
pub const SQL_BYTES_MAX: usize = 64 << 20;
/// How long one statement of such a question may take, where nothing is said.
pub const SQL_TIME_MAX: Duration = Duration::from_mins(1);
/// Steps of `SQLite`'s machine between two looks at the clock.
pub const SQL_TICK: i32 = 10_000;

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
/// An answer up to this many bytes takes up no room: the system's own buffer of a connection takes it.
pub const ANSWER_BYTES_SMALL: usize = 64 << 10;
/// Larger answers in memory at once, whoever takes them: a quarter of what the packaged unit may have.
pub const ANSWERS_BYTES_MAX: usize = 256 << 20;
/// Those of one token, so that one that takes nothing leaves room for the others. A single answer may be larger.
pub const ANSWERS_BYTES_PER_TOKEN_MAX: usize = 64 << 20;
/// How long a call that hands out waits for room: those before it are through in milliseconds, or stalled.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(1);
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
/// File descriptors without which a server does not start: its own files on every connection of the pool, and
/// some dozen clients.
pub const DESCRIPTORS_MIN: u64 = 64;
/// Descriptors that a server asks the system for: the usual limit is 1,024, and each connection holds one.
pub const DESCRIPTORS_WANTED: u64 = CONNECTIONS_MAX as u64 + 1_024;
/// Connections that the system keeps for us until we take them: a crowd that comes back together is not sent away.
pub const BACKLOG_CONNECTIONS: i32 = 4_096;
/// A pending socket write without progress for this long ends the connection.
pub const WRITE_STALL: Duration = Duration::from_secs(30);
/// How soon a pending write is tried once more, whatever the system says of the socket.
pub const WRITE_LOOK: Duration = Duration::from_millis(250);
/// Kernel send buffer of one connection, in bytes.
pub const SEND_BUFFER_BYTES: usize = 256 << 10;
/// How long sent bytes may stay unacknowledged before the kernel gives the peer up.
pub const USER_TIMEOUT: Duration = Duration::from_secs(45);
/// hyper's own buffer of one connection, in bytes.
pub const CONNECTION_BUFFER_BYTES: usize = 64 << 10;
/// How long a stopping server waits for open requests.
pub const DRAIN: Duration = Duration::from_secs(4);
/// Text of a commit that its streams are sent out of one piece of memory. Of a larger one each is given a copy of what
/// is for it, a little at a time: a client that takes its time keeps a piece as long, and the tokens' 256 streams may
/// not keep more in all than their answers may.
pub const SHARED_BYTES_MAX: usize = 256 << 10;
/// How long a server whose log failed goes on telling those who asked: whoever starts it anew waits for its end.
pub const LAST_WORDS: Duration = Duration::from_millis(300);
/// Frames of one stream that are copied into one piece: below it a copy costs less than one more piece of a write.
pub const JOINED_BYTES: usize = 16 << 10;
/// Streams that are woken at once: what else the server has to do comes in between. Fewer at once made the slowest
/// of them wait longer (measured).
pub const WAVE_STREAMS: usize = 256;
/// How long after the begin of one wave of streams the next may begin, for each of them: some of them still write,
/// and what is committed meanwhile goes out in one write, which takes about that much of a core (measured).
pub const WAVE_PAUSE_PER_STREAM: Duration = Duration::from_micros(5);
/// Time between two heartbeats of a stream.
pub const HEARTBEAT: Duration = Duration::from_secs(15);
/// Bounds of the reconnect delay given to browsers, in milliseconds: spread, so that a restart
/// does not bring every page back in the same instant.
pub const RETRY_MS: std::ops::RangeInclusive<u32> = 1_000..=10_000;
