#include "chronos/pgdata/control_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <fstream>
#include <thread>

#include "chronos/base/text.h"
#include "chronos/os/file.h"
#include "chronos/pgdata/version_numbers.h"
#include "pgdata/crc32c.h"
#include "pgdata/little_endian.h"
#include "pgdata/versions.h"
#include "pgdata/wal_segment_size.h"

namespace chronos::pgdata {
namespace {

/// All fields lie within one disk sector, so that the server can write them in one piece.
constexpr std::size_t kControlDataSize = 512;
constexpr std::size_t kSystemIdAt = 0;
constexpr std::size_t kControlVersionAt = 8;
constexpr std::size_t kCatalogVersionAt = 12;
/// The server's DBState. Two of its values are recovery: shut down in it, and running.
constexpr std::size_t kStateAt = 16;
constexpr std::uint32_t kShutDown = 1;
constexpr std::uint32_t kShutDownInRecovery = 2;
constexpr std::uint32_t kInArchiveRecovery = 5;
constexpr std::size_t kCheckpointAt = 32;
constexpr std::size_t kRedoAt = 40;
constexpr std::size_t kTimelineAt = 48;
/// Off, on, and what betas of 19 have while it is changed under a running server.
constexpr std::uint32_t kChecksumStateMax = 3;

Result<> check_size(io::Bytes content) {
    if (content.size() < kControlDataSize)
        return Error(ErrorKind::format, "pg_control has only " + std::to_string(content.size()) +
                                            " bytes, " + std::to_string(kControlDataSize) +
                                            " are expected");
    return {};
}

std::uint32_t control_version_in(io::Bytes content) {
    return load<std::uint32_t>(content, kControlVersionAt);
}

std::uint32_t catalog_version_in(io::Bytes content) {
    return load<std::uint32_t>(content, kCatalogVersionAt);
}

/// The major version that a control version is called after: 1905 belongs to 19. "" if it is called
/// after none.
std::string named_after(std::uint32_t control_version) {
    constexpr std::uint32_t kFirst = 1000;
    constexpr std::uint32_t kLast = 9999;
    if (control_version < kFirst || control_version > kLast) return "";
    return std::to_string(control_version / 100);
}

/// `version` is what the file PG_VERSION says, or "" where there is none.
Error unknown_version(io::Bytes content, std::string version) {
    const std::uint32_t control_version = control_version_in(content);
    if (version.empty()) version = named_after(control_version);
    std::string message = "unexpected control version = " + std::to_string(control_version) +
                          " and catalog version = " + std::to_string(catalog_version_in(content));
    if (!version.empty()) message += ", of PostgreSQL " + version;
    return Error(ErrorKind::version_not_supported, std::move(message))
        .with_hint("This chronos knows the releases of PostgreSQL " + supported_versions() +
                   ". Newer ones need a newer chronos; betas and release candidates that differ "
                   "from the release are not supported.");
}

Result<const Version*> version_of(io::Bytes content) {
    if (const Version* found =
            find_version(control_version_in(content), catalog_version_in(content)))
        return found;
    return unknown_version(content, "");
}

Result<> check_crc(io::Bytes content, const ControlLayout& layout) {
    if (crc32c(content.first(layout.crc)) == load<std::uint32_t>(content, layout.crc)) return {};
    return Error(ErrorKind::checksum,
                 "calculated pg_control checksum does not match expected value")
        .with_hint(
            "The file global/pg_control is damaged, or this build of PostgreSQL has "
            "another layout.");
}

Result<> check_plausible(const ControlFile& control) {
    CHRONOS_TRY(check_wal_segment_size(control.wal_segment_size));
    if (!std::has_single_bit(control.page_size) || control.page_size < 1024 ||
        control.page_size > 32768)
        return Error(ErrorKind::format, "page size is " + std::to_string(control.page_size) +
                                            " but must be a power of two between 1024 and 32768 "
                                            "inclusive");
    if (control.data_checksum_version > kChecksumStateMax)
        return Error(ErrorKind::format,
                     "data checksum version is " + std::to_string(control.data_checksum_version) +
                         " but only 0 to " + std::to_string(kChecksumStateMax) + " are known");
    return {};
}

/// What the server of a data directory calls itself: "19", or "20devel"; "" if there is no such
/// file, as in the directory of a restore that was interrupted.
std::string pg_version_in(const std::string& pgdata) {
    constexpr std::size_t kSizeMax = 32;
    std::ifstream stream(pgdata + "/PG_VERSION");
    std::string line;
    std::getline(stream, line);
    return line.size() > kSizeMax ? "" : printable(trim(line));
}

/// A catalog version that is not that of the release says less about the version than the file that
/// exists for it.
Result<> check_version_file(io::Bytes content, const ControlFile& control,
                            const std::string& pgdata) {
    if (version_numbers(control.version)->catalog_version == control.catalog_version) return {};
    const std::string said = pg_version_in(pgdata);
    if (said.empty() || said == control.version) return {};
    return unknown_version(content, said);
}

/// The first kControlDataSize bytes, fewer if the file is shorter.
Result<std::string> read_once(const std::string& path) {
    const os::FileDescriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (!fd.valid() && errno == ENOENT)
        return Error(ErrorKind::not_found, "unable to open missing file '" + path + "' for read");
    if (!fd.valid())
        return system_error(ErrorKind::file_open, "unable to open file '" + path + "' for read",
                            errno);
    std::string content(kControlDataSize, '\0');
    ssize_t count = 0;
    do {
        count = ::pread(fd.get(), content.data(), content.size(), 0);
    } while (count < 0 && errno == EINTR);
    if (count < 0)
        return system_error(ErrorKind::file_read, "unable to read '" + path + "'", errno);
    content.resize(static_cast<std::size_t>(count));
    return content;
}

struct CheckedContent {
    std::string content;
    ControlFile control;
};

/// A server that writes the file while we read can show us half of each version. Bad bytes that
/// stay the same over a pause are no such accident.
Result<CheckedContent> read_checked(const std::string& pgdata) {
    constexpr std::chrono::milliseconds kPause{50};
    constexpr int kAttempts = 100;
    const std::string path = pgdata + "/global/pg_control";
    std::string previous;
    for (int attempt = 1;; ++attempt) {
        std::string content = CHRONOS_TRY(read_once(path));
        auto control = parse_control_file(io::bytes(content));
        if (control) {
            CHRONOS_TRY_DOING(check_version_file(io::bytes(content), *control, pgdata),
                              "read '" + path + "'");
            return CheckedContent{std::move(content), std::move(*control)};
        }
        if (control.error().kind() == ErrorKind::version_not_supported)
            return unknown_version(io::bytes(content), pg_version_in(pgdata))
                .while_doing("read '" + path + "'");
        const bool may_be_torn = control.error().kind() == ErrorKind::checksum;
        if (!may_be_torn || content == previous || attempt == kAttempts)
            return std::move(control).error().while_doing("read '" + path + "'");
        previous = std::move(content);
        std::this_thread::sleep_for(kPause);
    }
}

}  // namespace

unsigned ControlFile::major() const {
    unsigned result = 0;
    std::from_chars(version.data(), version.data() + version.size(), result);
    return result;
}

Timeline ControlFile::current_timeline() const {
    return std::max(timeline, recovery_timeline);
}

std::string ControlFile::tablespace_directory() const {
    return "PG_" + version + "_" + std::to_string(catalog_version);
}

Result<ControlFile> parse_control_file(io::Bytes content) {
    CHRONOS_TRY(check_size(content));
    const Version* version = CHRONOS_TRY(version_of(content));
    CHRONOS_TRY(check_crc(content, version->control));
    ControlFile control;
    control.system_id = load<std::uint64_t>(content, kSystemIdAt);
    control.control_version = version->control_version;
    control.catalog_version = catalog_version_in(content);
    control.version = version->name;
    control.checkpoint = Lsn{load<std::uint64_t>(content, kCheckpointAt)};
    control.redo = Lsn{load<std::uint64_t>(content, kRedoAt)};
    control.timeline = load<std::uint32_t>(content, kTimelineAt);
    control.recovery_timeline = load<std::uint32_t>(content, version->control.recovery_timeline);
    const auto state = load<std::uint32_t>(content, kStateAt);
    control.shut_down = state == kShutDown;
    control.in_recovery = state == kShutDownInRecovery || state == kInArchiveRecovery;
    control.page_size = load<std::uint32_t>(content, version->control.page_size);
    control.wal_segment_size = load<std::uint32_t>(content, version->control.wal_segment_size);
    control.data_checksum_version =
        load<std::uint32_t>(content, version->control.data_checksum_version);
    CHRONOS_TRY(check_plausible(control));
    return control;
}

Result<ControlFile> read_control_file(const std::string& pgdata) {
    return CHRONOS_TRY(read_checked(pgdata)).control;
}

Result<std::string> read_control_file_content(const std::string& pgdata) {
    std::string content = CHRONOS_TRY(read_checked(pgdata)).content;
    content.resize(kControlFileSize, '\0');
    return content;
}

Result<std::string> invalidate_checkpoint(std::string content) {
    CHRONOS_TRY(check_size(io::bytes(content)));
    const Version* version = CHRONOS_TRY(version_of(io::bytes(content)));
    CHRONOS_TRY(check_crc(io::bytes(content), version->control));
    const auto writable = std::as_writable_bytes(std::span(content));
    store(writable, kCheckpointAt, kInvalidCheckpoint);
    store(writable, version->control.crc, crc32c(io::bytes(content).first(version->control.crc)));
    return content;
}

}  // namespace chronos::pgdata
