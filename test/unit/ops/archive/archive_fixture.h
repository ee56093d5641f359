#pragma once

#include <atomic>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "chronos/ops/archive/get.h"
#include "chronos/ops/archive/push.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/pgdata/wal.h"
#include "chronos/repo/stanza.h"
#include "chronos/storage/forwarding.h"
#include "chronos/storage/posix/posix_storage.h"
#include "control_vector.h"
#include "random_bytes.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::archive {

inline constexpr std::uint64_t kSystemId = 7710195861716093438;  // that of control_15()
inline constexpr std::size_t kSegmentSize = std::size_t{16} << 20;
inline const std::string kStanza = "main";
inline const std::string kSegment = "000000010000000000000003";
inline const std::string kDirectory = "0000000100000000/";

inline std::string segment(unsigned number, Timeline timeline = 1) {
    return pgdata::wal_segment_name(timeline, Lsn{std::uint64_t{number} * kSegmentSize},
                                    kSegmentSize);
}

inline void write_file(const std::string& path, std::string_view content) {
    std::filesystem::create_directories(std::filesystem::path(path).parent_path());
    std::ofstream(path, std::ios::binary) << content;
}

inline std::string read_file(const std::string& path) {
    std::ostringstream content;
    content << std::ifstream(path, std::ios::binary).rdbuf();
    return content.str();
}

/// A segment of PostgreSQL 15 that says of itself to be number `segment_number`, with `seed` as
/// the rest of its content.
inline std::string make_segment(std::uint64_t segment_number, std::uint64_t seed = 1,
                                std::uint64_t system_id = kSystemId) {
    std::string content = random_bytes(4096, seed);
    const auto put = [&](std::size_t at, auto value) {
        content.replace(at, sizeof(value), reinterpret_cast<const char*>(&value), sizeof(value));
    };
    put(0, std::uint16_t{0xD110});
    put(2, std::uint16_t{0x0002});
    put(4, std::uint32_t{1});
    put(8, std::uint64_t{segment_number * kSegmentSize});
    put(24, system_id);
    put(32, static_cast<std::uint32_t>(kSegmentSize));
    content.resize(kSegmentSize, '\0');
    return content;
}

/// Takes everything and fails in the end: a full disk, noticed late.
class FailingSink final : public io::Sink {
public:
    explicit FailingSink(std::unique_ptr<io::Sink> next) : next_(std::move(next)) {}
    Result<> write(io::Bytes in) override { return next_->write(in); }
    Result<> finish() override { return Error(ErrorKind::file_write, "no space left on device"); }

private:
    std::unique_ptr<io::Sink> next_;
};

/// A repository that can be away: like a directory on which nothing is mounted any more.
class MountedStorage final : public storage::ForwardingStorage {
public:
    using ForwardingStorage::ForwardingStorage;

    bool away = false;
    bool full = false;  ///< nothing can be stored
    /// If not negative: goes away after so many calls.
    std::atomic<int> calls_left = -1;

    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        if (gone()) return Error(ErrorKind::not_found, "unable to open missing " + name);
        return next_.open(name, range);
    }
    Result<std::unique_ptr<io::Sink>> create(const storage::ObjectName& name,
                                             storage::WriteMode mode) override {
        if (gone()) return Error(ErrorKind::file_open, "unable to create " + name);
        std::unique_ptr<io::Sink> sink = CHRONOS_TRY(next_.create(name, mode));
        if (full) return std::make_unique<FailingSink>(std::move(sink));
        return sink;
    }
    Result<std::optional<storage::Entry>> info(const storage::ObjectName& name) override {
        if (gone()) return std::optional<storage::Entry>{};
        return next_.info(name);
    }
    Result<std::vector<storage::Entry>> list(const storage::ObjectName& directory,
                                             const std::string& prefix) override {
        if (gone()) return std::vector<storage::Entry>{};
        return next_.list(directory, prefix);
    }
    Result<std::vector<storage::Entry>> list_tree(const storage::ObjectName& directory) override {
        if (gone()) return std::vector<storage::Entry>{};
        return next_.list_tree(directory);
    }

private:
    bool gone() {
        if (calls_left > 0) --calls_left;
        return away || calls_left == 0;
    }
};

/// A data directory, and repositories on disk.
class ArchiveTest : public testing::Test {
protected:
    void SetUp() override { write_file(pg_path() + "/global/pg_control", control_15_file()); }

    static std::string control_15_file() {
        std::string content = pgdata::control_15();
        content.resize(pgdata::kControlFileSize, '\0');
        return content;
    }

    std::string pg_path() const { return directory_ / "pg"; }
    std::string wal_path(const std::string& name) const { return pg_path() + "/pg_wal/" + name; }
    std::string repo_path(unsigned key) const {
        return directory_ / ("repo" + std::to_string(key));
    }
    std::string destination() const { return pg_path() + "/pg_wal/RECOVERYXLOG"; }

    repo::Repository add_repository(bool encrypted = false) {
        repo::Repository repository;
        repository.key = static_cast<unsigned>(repositories_.size()) + 1;
        std::filesystem::create_directories(repo_path(repository.key));
        auto mounted = std::make_shared<MountedStorage>(
            storage::make_posix_storage(repo_path(repository.key)));
        mounts_.push_back(mounted);
        repository.storage = mounted;
        if (encrypted) {
            repository.cipher = crypto::CipherType::aes_256_cbc;
            repository.passphrase = "secret";
        }
        repositories_.push_back(repository);
        return repository;
    }
    MountedStorage& mount(unsigned key) { return *mounts_[key - 1]; }

    PushSettings push_settings() const {
        PushSettings settings;
        settings.repositories = repositories_;
        settings.stanza = kStanza;
        settings.pg_path = pg_path();
        settings.compress_type = compress::CompressType::lz4;
        settings.compress_level = 1;
        settings.process_max = 1;
        settings.lock_path = directory_ / "lock";
        settings.exec_id = "1-00000000";
        return settings;
    }
    GetSettings get_settings() const { return {repositories_, kStanza, pg_path(), false}; }

    Result<> push(const std::string& name, const std::string& content) {
        write_file(wal_path(name), content);
        return ArchivePusher(push_settings()).push(name, wal_path(name));
    }
    Result<GetOutcome> get(const std::string& name) {
        return get_wal(get_settings(), name, destination());
    }
    /// The names below a directory of the archive of a repository.
    std::vector<std::string> stored(unsigned key, const std::string& below = "15-1") {
        const auto listed =
            repositories_[key - 1].storage->list_tree("archive/" + kStanza + "/" + below);
        std::vector<std::string> names;
        if (listed)
            for (const storage::Entry& entry : *listed) names.push_back(entry.name);
        return names;
    }
    std::string stored_path(unsigned key, const std::string& name) {
        return repo_path(key) + "/archive/" + kStanza + "/15-1/" + name;
    }

    test::TemporaryDirectory directory_;
    std::vector<repo::Repository> repositories_;
    std::vector<std::shared_ptr<MountedStorage>> mounts_;
};

}  // namespace chronos::ops::archive
