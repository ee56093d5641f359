#pragma once

#include <cstdint>
#include <string>

#include "chronos/base/lsn.h"
#include "chronos/base/result.h"
#include "chronos/io/stream.h"

namespace chronos::pgdata {

inline constexpr std::size_t kControlFileSize = 8192;
/// The checkpoint of a restored online backup: such a cluster starts only with its backup_label.
inline constexpr std::uint64_t kInvalidCheckpoint = 0xDEAD;

/// What global/pg_control says. Source: docs/format/cluster-files.md, pg_control.
struct ControlFile {
    std::uint64_t system_id = 0;
    std::uint32_t control_version = 0;
    std::uint32_t catalog_version = 0;
    std::string version;  ///< "15"
    Lsn checkpoint;
    Lsn redo;                        ///< of that checkpoint: nothing in front of it is replayed
    Timeline timeline = 0;           ///< of the last checkpoint
    Timeline recovery_timeline = 0;  ///< 0 once there was a checkpoint after recovery
    bool shut_down = false;          ///< cleanly, not in recovery: a server starts without any
    bool in_recovery = false;        ///< a standby, or one that recovers from a backup
    std::uint32_t page_size = 8192;
    std::uint32_t wal_segment_size = 0;
    std::uint32_t data_checksum_version = 0;  ///< 0: off, 1: on; else pages are being changed

    /// Whether a page without a right checksum is a bad one: not so while only some have got one.
    bool pages_have_checksums() const { return data_checksum_version == 1; }

    unsigned major() const;
    /// The one that the server writes: after a promotion another one than that of the checkpoint,
    /// until the next checkpoint, which may take minutes.
    Timeline current_timeline() const;
    /// "PG_15_202209061", the directory in tablespaces.
    std::string tablespace_directory() const;
};

/// From the first 512 bytes or more. Kinds: version_not_supported, checksum (CRC), format.
Result<ControlFile> parse_control_file(io::Bytes content);

/// Reads <pgdata>/global/pg_control; a torn read (CRC) is repeated until two reads agree.
Result<ControlFile> read_control_file(const std::string& pgdata);
/// As read_control_file(), and the 8192 bytes to store: 512 bytes read, zeros behind them.
Result<std::string> read_control_file_content(const std::string& pgdata);

/// `content` with the checkpoint set to kInvalidCheckpoint and the CRC made right again.
Result<std::string> invalidate_checkpoint(std::string content);

}  // namespace chronos::pgdata
