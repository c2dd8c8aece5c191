//! Every limit in one list. A queue, buffer, body, name, depth or count without a line here is
//! a defect.

use std::time::Duration;

/// Longest container or volume name, in bytes (a file name on every file system in use).
pub const NAME_BYTES_MAX: usize = 255;
/// Longest `domain/path` of an image (`distribution/reference` NameTotalLengthMax).
pub const REPOSITORY_BYTES_MAX: usize = 255;
/// Longest tag (`distribution/reference`).
pub const TAG_BYTES_MAX: usize = 128;

/// Largest JSON request body.
pub const JSON_BODY_BYTES_MAX: usize = 4 << 20;
/// Deepest JSON nesting (serde_json's own recursion limit).
pub const JSON_DEPTH_MAX: usize = 128;
/// Largest request head.
pub const REQUEST_HEAD_BYTES_MAX: usize = 64 << 10;
/// How long a client may take to send its request head; also closes idle connections.
pub const REQUEST_HEAD_TIMEOUT: Duration = Duration::from_secs(300);
/// Connections served at once; further ones wait in the listen queue.
pub const CONNECTIONS_MAX: usize = 4096;
/// Longest wait for a client to read the response head of a hijacked stream before data follow.
pub const HIJACK_HEAD_DRAIN: Duration = Duration::from_millis(250);
/// Largest message of a WebSocket client.
pub const WEBSOCKET_MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Containers the daemon keeps.
pub const CONTAINERS_MAX: usize = 100_000;
/// Networks the daemon keeps.
pub const NETWORKS_MAX: usize = 10_000;
/// Networks a container may be on at once.
pub const ENDPOINTS_MAX: usize = 256;
/// Ports a container may publish.
pub const PORTS_MAX: usize = 1024;
/// How long the removal of a network waits for those who have ended and are leaving it.
pub const NETWORK_LEAVE_PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether somebody has taken containers' rules out of the firewall.
pub const FIREWALL_LOOK_INTERVAL: Duration = Duration::from_secs(15);
/// How long who takes tables of the firewall away is left to put its own in their place.
pub const FIREWALL_RELOAD_PATIENCE: Duration = Duration::from_millis(300);
/// Operations that may wait for one container's task.
pub const CONTAINER_QUEUE_MAX: usize = 64;
/// Environment variables, labels, mounts, arguments: entries of one list of a create request, of an image's
/// configuration or manifest.
pub const SPEC_LIST_MAX: usize = 16_384;
/// Largest seccomp profile of a container's own; Docker's default one has some 15 KiB.
pub const SECCOMP_PROFILE_BYTES_MAX: usize = 1 << 20;
/// Largest file of the Container Device Interface; those of a host with eight GPUs have some 100 KiB.
pub const CDI_FILE_BYTES_MAX: u64 = 4 << 20;
/// Such files that are read, of all directories together.
pub const CDI_FILES_MAX: usize = 1024;
/// Descriptors that a client may pass with one request.
pub const PASSED_DESCRIPTORS_MAX: usize = 64;
/// Listening sockets that systemd may hand over; each has an accept loop.
pub const HANDED_SOCKETS_MAX: usize = 16;
/// Ranges of one id map (user_namespaces(7): 340 lines since Linux 4.15).
pub const ID_RANGES_MAX: usize = 340;
/// Exec sessions the daemon keeps, ended ones included; the oldest of those go first.
pub const EXECS_MAX: usize = 10_000;
/// Command and environment of one session: the kernel takes no more (`ARG_MAX`).
pub const EXEC_SPEC_BYTES_MAX: usize = 2 << 20;
/// Sessions among them whose output is kept.
pub const EXECS_KEPT_MAX: usize = 500;
/// What is kept of the output of one of those: the end of its log.
pub const EXEC_LOG_BYTES_MAX: u64 = 16 << 20;
/// How long the output of one of those can still be read when it has ended.
pub const EXEC_KEPT_ENDED_KEPT: Duration = Duration::from_secs(3600);
/// What is held in memory of the output of any other session that runs.
pub const EXEC_HISTORY_BYTES: usize = 512 << 10;
/// The same, of all of them together.
pub const EXEC_HISTORIES_BYTES: usize = 64 << 20;
/// How long an ended session can still be inspected and waited for (moby collects them after
/// five to ten minutes).
pub const EXEC_ENDED_KEPT: Duration = Duration::from_secs(300);
/// How long a session that nobody starts is kept.
pub const EXEC_UNSTARTED_KEPT: Duration = Duration::from_secs(3600);
/// What the journal of events may take of the ledger; the oldest go first.
pub const EVENTS_BYTES_MAX: u64 = 64 << 20;
/// The last events are held in memory as well, up to this.
pub const EVENTS_RING_BYTES: usize = 1 << 20;
/// Events handed to one reader at a time.
pub const EVENTS_BATCH_MAX: usize = 256;
/// How many numbers are left out when the host has been restarted: more than the events that a
/// power loss can take back.
pub const EVENTS_LEFT_OUT: u64 = 1_000_000;
/// Attach clients of one container.
pub const ATTACH_CLIENTS_MAX: usize = 1024;
/// Bytes buffered in memory for one attach client.
pub const CLIENT_RING_BYTES: usize = 1 << 20;
/// Bytes of output that wait in a file for one attach client, unless configured.
pub const SPILL_BYTES_MAX: u64 = 1 << 30;
/// Free space of the data root's file system that such files leave to everything else.
pub const SPILL_LEAVE_BYTES: u64 = 64 << 20;
/// Largest stdin packet conmon takes whole (conmon CONN_SOCK_BUF_SIZE).
pub const STDIN_PACKET_BYTES_MAX: usize = 32_768;
/// Largest packet conmon sends: one type byte and its STDIO_BUF_SIZE.
pub const ATTACH_PACKET_BYTES_MAX: usize = 8193;
/// Longest joined log line handed out in one piece; longer ones come in pieces.
pub const LOG_LINE_BYTES_MAX: usize = 1 << 20;
/// Bytes of rotated logs that stay, beyond what was asked for, for readers who are still in them.
pub const LOG_HELD_BYTES_MAX: u64 = 64 << 20;

/// How often a container that somebody watches is looked at (Docker's collector).
pub const STATS_INTERVAL: Duration = Duration::from_secs(1);
/// Interfaces shown of one container: one that may make some can make many.
pub const STATS_NETWORKS_MAX: usize = 256;
/// Containers looked at for a single answer, at once; each holds a blocking thread. Further ones wait.
pub const STATS_LOOKS_MAX: usize = 16;

/// How long conmon and the OCI runtime may take to create a container (libpod's 240 s).
pub const CREATE_TIMEOUT: Duration = Duration::from_secs(240);
/// How long one call of the OCI runtime (start, kill, delete, state, pause) may take.
pub const RUNTIME_CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest that either of them may be configured to.
pub const RUNTIME_TIMEOUT_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a killed process may take to be gone before `stop` reports it.
pub const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// Docker's default grace of `stop`.
pub const STOP_GRACE_DEFAULT: Duration = Duration::from_secs(10);
/// Output of a helper program (runtime, conmon) kept for an error message.
pub const PROGRAM_OUTPUT_BYTES_MAX: usize = 64 << 10;
/// What is read of a `ps` that may list all processes of a busy host.
pub const PS_OUTPUT_BYTES_MAX: usize = 4 << 20;
/// Programs (runtime, conmon) running at once on behalf of requests.
pub const RUNTIME_CALLS_MAX: usize = 64;
/// Checkpoints dumped at once: each writes a container's memory to the disk. Further ones wait.
pub const DUMPS_MAX: usize = 4;
/// Containers committed at once; each holds a blocking thread and a thread of its own. Further ones wait.
pub const COMMITS_MAX: usize = 4;

/// Archives of images read at once; each holds a blocking thread. Further ones wait.
pub const UPLOADS_MAX: usize = 8;
/// How long an upload may bring nothing, once it is read.
pub const UPLOAD_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Logs read from the journal at once; each is a program at work. Further ones are refused.
pub const JOURNAL_READERS_MAX: usize = 64;

/// Archives sent at once; each holds a blocking thread. Further ones wait.
pub const DOWNLOADS_MAX: usize = 8;
/// How long a client may take nothing of an archive it is sent.
pub const DOWNLOAD_IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Archives of containers' files at once, in each direction; each holds a blocking thread. Further ones
/// wait.
pub const FILES_ARCHIVES_MAX: usize = 24;
/// Those that are sent of one container; one is taken in at a time.
pub const FILES_ARCHIVES_OF_ONE_MAX: usize = 4;
/// Looks at containers' files or changes at once; each holds a blocking thread, for as long as what is
/// mounted there does not answer.
pub const FILES_LOOKS_MAX: usize = 64;
/// Those at one container's.
pub const FILES_LOOKS_OF_ONE_MAX: usize = 4;
/// What is held in memory of the paths that a container has changed.
pub const CHANGES_BYTES_MAX: usize = 64 << 20;
/// What is read behind the end of an archive that is put into a container.
pub const ARCHIVE_REST_BYTES_MAX: u64 = 16 << 20;

/// Layers fetched at once, for all pulls (Docker's `max-concurrent-downloads`); each holds a blocking
/// thread. Further ones wait.
pub const LAYER_DOWNLOADS_MAX: usize = 3;
/// Layers sent at once, for all pushes (Docker's `max-concurrent-uploads`); each holds a blocking thread.
pub const LAYER_UPLOADS_MAX: usize = 5;
/// Tags of one repository.
pub const TAGS_MAX: usize = 10_000;
/// How long a registry may take to be connected to.
pub const REGISTRY_CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// How long one may bring nothing: the head of an answer, or more of its body.
pub const REGISTRY_SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long one may take nothing of what it is sent.
pub const REGISTRY_ANSWER_TIMEOUT: Duration = Duration::from_secs(300);

/// Directories within one another that a size is asked of; one descriptor each.
pub const SIZE_DEPTH_MAX: usize = 128;
/// Entries of a container's changes that a size is asked of.
pub const SIZE_ENTRIES_MAX: u64 = 4_000_000;

/// Entries of one layer.
pub const LAYER_ENTRIES_MAX: u64 = 4_000_000;
/// Longest path of a layer entry.
pub const LAYER_PATH_BYTES_MAX: usize = 4096;
/// Unpacked bytes of one layer: beyond every image in use, below what fills most disks.
pub const LAYER_BYTES_MAX: u64 = 64 << 30;
/// What a layer's archive may hold beside the content of its files; it is kept, compressed.
pub const FRAME_BYTES_MAX: u64 = LAYER_BYTES_MAX;
/// Names of what entries of a layer replaced; held in memory when the layer is made and read.
pub const FRAME_MOVED_BYTES_MAX: usize = 8 << 20;
/// Extended header (PAX) of one archive entry: its long names and attributes.
pub const PAX_BYTES_MAX: u64 = 1 << 20;
/// Names of the extended attributes of one entry, with a byte between them: the kernel lists no more of a
/// file (`XATTR_LIST_MAX`).
pub const XATTR_NAMES_BYTES_MAX: usize = 64 << 10;
/// Names held in memory while a tree is packed: those of a directory, and of the directories in those above.
pub const PACK_NAMES_BYTES_MAX: usize = 64 << 20;
/// Names of files with several, held in memory while a tree is packed; what has no room is sent once more.
pub const PACK_LINKS_BYTES_MAX: usize = 32 << 20;
/// Pieces of one sparse file in an archive; 16 bytes of memory each.
pub const SPARSE_SEGMENTS_MAX: usize = 1 << 18;
/// How many times its compressed size a stream may grow to, once it has passed
/// [`EXPANSION_FREE_BYTES`].
pub const EXPANSION_RATIO_MAX: u64 = 1000;
/// Unpacked bytes of a stream whose ratio is not looked at: zeros compress well in all honesty.
pub const EXPANSION_FREE_BYTES: u64 = 1 << 30;
/// Layers of one image (overlayfs OVL_MAX_STACK).
pub const IMAGE_LAYERS_MAX: usize = 500;
/// Manifest, index or configuration blob.
pub const MANIFEST_BYTES_MAX: u64 = 4 << 20;
/// Images in one archive.
pub const ARCHIVE_IMAGES_MAX: usize = 1024;
/// Entries of an archive of images.
pub const ARCHIVE_ENTRIES_MAX: usize = 65_536;
/// Names in an archive of images, those that links lead to included; they are held in memory.
pub const ARCHIVE_NAMES_BYTES_MAX: usize = 8 << 20;
/// Names that an archive gives to its images.
pub const ARCHIVE_REFERENCES_MAX: usize = 16_384;
/// Manifests, indexes and configurations of one archive together; they are held in memory, also once for
/// each image that they are of.
pub const ARCHIVE_JSON_BYTES_MAX: u64 = 32 << 20;
/// Largest window of a zstd stream, as a power of two (8 MiB): what RFC 8878 asks of everybody.
/// An archive and a layer in it hold one each, in every upload, so larger ones would add up.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 23;
/// Longest /etc/passwd or /etc/group read from a rootfs.
pub const PASSWD_BYTES_MAX: u64 = 4 << 20;

/// How long one call of netavark may take; it is killed then.
pub const NETAVARK_TIMEOUT: Duration = Duration::from_secs(30);
/// The host's firewall rules, as text: some hundred bytes for each published port.
pub const FIREWALL_BYTES_MAX: usize = 16 << 20;
/// How long another daemon on this host is waited for, that changes the firewall.
pub const FIREWALL_LOCK_TIMEOUT: Duration = Duration::from_secs(20);
/// How long nft may take for the name server's rules, a dozen lines. Those who start containers wait for it.
pub const NFT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a netavark that a daemon before this one started is waited for.
pub const NETAVARK_LOCK_TIMEOUT: Duration = Duration::from_secs(60);
/// How long aardvark-dns may take until it serves.
pub const NAME_SERVER_START_TIMEOUT: Duration = Duration::from_secs(10);
/// How long aardvark-dns is waited for after it was told to read its files again.
pub const NAME_SERVER_READ_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a name server that ended is left alone before it is started again; twice that after each failure.
pub const NAME_SERVER_RESTART_DELAY: Duration = Duration::from_millis(100);
/// The longest of those.
pub const NAME_SERVER_RESTART_DELAY_MAX: Duration = Duration::from_secs(30);
/// How many ports that turn out to be in use are tried for one that may be any, or any of a range.
pub const PORT_TRIES_MAX: usize = 64;
/// How long the interfaces of a namespace that is gone are waited for; the kernel takes them away later.
pub const NETNS_END_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the daemon may take to end after SIGTERM.
pub const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(800);
