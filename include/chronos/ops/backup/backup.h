#pragma once

#include <chrono>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "chronos/base/cancel.h"
#include "chronos/base/given.h"
#include "chronos/base/progress.h"
#include "chronos/compress/compress.h"
#include "chronos/db/connection.h"
#include "chronos/repo/info.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"

namespace chronos::ops::backup {

/// How files are cut into blocks, for those that know better than the tables of the format. Each
/// map has the value that holds from its key on; an empty one stands for the usual table. Source:
/// docs/format/bundles-and-blocks.md, Which files are cut.
struct BlockRules {
    /// Every file that is large enough is cut, however long ago its last change is.
    bool always = false;
    Given<std::uint64_t> super_block_size;                 ///< of diff and incr, bytes
    Given<std::uint64_t> super_block_size_full;            ///< bytes
    std::map<std::uint64_t, std::uint64_t> size_map = {};  ///< file size: block size, bytes
    std::map<std::uint64_t, std::uint64_t> age_map = {};   ///< days: multiplier of the block size
    std::map<std::uint64_t, std::uint64_t> checksum_map = {};  ///< block size: checksum size, bytes
};

/// The server whose files are copied, and in whose session the backup is made.
enum class CopyFrom {
    primary,
    either,  ///< whichever the server is
    standby,
};

struct BackupRequest {
    std::string stanza;
    repo::Repository repository;
    /// Repositories whose backup lock is taken: all that are configured, unless one was named.
    std::vector<unsigned> lock_keys = {1};
    std::string lock_path;
    std::string exec_id;  ///< "<pid>-<8 hex digits>"
    std::string pgdata;   ///< the configured data directory; "" takes the server's word

    repo::BackupType type = repo::BackupType::incr;
    compress::CompressType compress_type = compress::CompressType::none;
    std::optional<int> compress_level;  ///< nullopt: the default of the type
    /// Of a stopped cluster: even if it looks as if its server ran, or while one starts.
    bool force = false;
    CopyFrom copy_from = CopyFrom::primary;
    bool archive_check = true;
    bool archive_copy = false;
    bool archive_mode_check = true;
    /// nullopt: if the cluster has checksums and, when it is stopped, was shut down cleanly
    std::optional<bool> checksum_page;
    bool page_errors_stop = false;  ///< the first damaged page fails the backup
    bool page_header_check = true;
    bool delta = false;
    bool start_fast = false;
    bool resume = true;   ///< leave a partial manifest from which a backup can be resumed
    bool symlink = true;  ///< `latest`, and tablespaces in pg_tblspc
    bool bundle = false;  ///< store small files together
    Given<std::uint64_t> bundle_size;   ///< bytes at which a bundle is complete
    Given<std::uint64_t> bundle_limit;  ///< bytes of the largest file in one
    bool block = false;  ///< store the blocks of files that changed; only with `bundle`
    BlockRules block_rules;
    std::vector<std::string> exclude;
    std::map<std::string, std::string> annotations;
    Given<std::size_t> process_max;
    Given<std::uint64_t> buffer_size;   ///< recorded in the manifest
    Given<int> compress_level_network;  ///< recorded in the manifest
    Given<std::uint64_t> manifest_save_threshold;
    Given<std::chrono::milliseconds> archive_timeout;
    Given<std::chrono::milliseconds> db_timeout;
};

struct BackupResult {
    repo::BackupEntry entry;       ///< as backup.info now lists it
    std::uint64_t file_total = 0;  ///< files in the manifest
    /// Files with damaged pages, what could not be backed up, and which backups were found to be
    /// lost, in words; "" if there is nothing to say.
    std::string warning;
};

/// Backs up the cluster at the other end of `connection` and returns when the backup, and the WAL
/// it needs, are in the repository for good. Interrupted anywhere - an error, a request in
/// `cancel`, a kill - it leaves a valid repository: the backup is listed completely or not at all.
///
/// Of a standby too, if the request says so: its session is the standby's own, and the WAL that
/// makes it consistent comes from the archive, to which the primary sends it. Its next diff or incr
/// reads every file, whichever tool makes it, as files of two servers have unlike times.
///
/// The stanza must exist (ops/stanza.h). The connection is used by one thread at a time, not
/// always the caller's; it keeps the server in backup mode, which ends with it.
/// Source: docs/format/backup.md; docs/format/repository.md, Order of writing.
Result<BackupResult> run_backup(const BackupRequest& request, db::Connection& connection,
                                const ProgressReceiver& progress, const Cancellation& cancel);

/// The same into several repositories at once, one request each, of one stanza: the server is in
/// backup mode once, and the cluster's files are read from its disks once. Each repository has its
/// own type, prior, codec, passphrase and bundles. One that fails does not keep the others from
/// completing. Returns what became of each, in the order of the requests. Memory and threads: those
/// of run_backup() for each request.
///
/// Without a connection the cluster in `pgdata` is stopped, and its backup is an offline one: whole
/// by itself, with pg_wal and without WAL of the archive. Kind pg_running if its server runs, or
/// was started meanwhile; not_found if no file has changed since the backup that it is based on.
std::vector<Result<BackupResult>> run_backups(const std::vector<BackupRequest>& requests,
                                              db::Connection* connection,
                                              const ProgressReceiver& progress,
                                              const Cancellation& cancel);

}  // namespace chronos::ops::backup
