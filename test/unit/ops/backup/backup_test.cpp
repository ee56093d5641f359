#include "chronos/ops/backup/backup.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <thread>

#include "chronos/crypto/hash.h"
#include "chronos/pgdata/control_file.h"
#include "chronos/repo/local/lock.h"
#include "chronos/repo/stanza.h"
#include "chronos/repo/stored_file.h"
#include "chronos/storage/posix/posix_storage.h"
#include "control_vector.h"
#include "fake_connection.h"
#include "fault_storage.h"
#include "memory_storage.h"
#include "pgdata/crc32c.h"
#include "plain_request.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::backup {
namespace {

using test::Fault;
using test::FaultStorage;
using test::MemoryStorage;
using test::Operation;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kFirstSegment = "000000010000000000000000";
constexpr const char* kSecondSegment = "000000010000000000000001";

/// A data directory that a server could have: the checkpoint of its pg_control is 0/17529B0.
class DataDirectory {
public:
    DataDirectory() {
        for (const char* path : {"global", "base/5", "pg_wal", "pg_tblspc"})
            std::filesystem::create_directories(directory_ / path);
        write("PG_VERSION", "15\n");
        std::string control = pgdata::control_15();
        control.resize(pgdata::kControlFileSize, '\0');
        write("global/pg_control", control);
        write("base/5/1259", std::string(3 * 8192, '\0'));
        write("base/5/2619", "");
    }
    const std::string& path() const { return directory_.path(); }
    void write(const std::string& name, std::string_view content) {
        std::ofstream(directory_ / name, std::ios::binary) << content;
        // All is old: a file of this second would be one that may still change unseen.
        std::filesystem::last_write_time(directory_ / name,
                                         std::filesystem::file_time_type::clock::now() - kAge);
    }
    void remove(const std::string& name) { std::filesystem::remove(directory_ / name); }

private:
    static constexpr std::chrono::hours kAge{24};
    test::TemporaryDirectory directory_;
};

/// A server, a stanza and a backup of the one into the other.
class RunBackup : public testing::Test {
protected:
    RunBackup() : faults_(std::make_shared<FaultStorage>(memory_)) {
        request_.repository.storage = faults_;
        request_.lock_path = locks_.path();
        request_.type = repo::BackupType::full;
        request_.archive_timeout = std::chrono::milliseconds(50);
        clock_ms_ = unix_now() * 1000 + 990;  // near the end of a second: waits for it are short
        answer_as_a_server();
    }

    void SetUp() override { make_stanza(memory_); }

    void make_stanza(storage::Storage& storage) {
        repo::Repository repository = request_.repository;
        repository.storage = std::shared_ptr<storage::Storage>(&storage, [](auto*) {});
        const auto control = pgdata::read_control_file(data_.path());
        ASSERT_OK(control);
        ASSERT_OK(repo::create_stanza(repository, "main", repo::ClusterIdentity::of(*control)));
        for (const char* segment : {kFirstSegment, kSecondSegment}) archive(segment);
    }
    void archive(const std::string& segment) {
        ASSERT_OK(storage::write_object(
            memory_, "archive/main/15-1/0000000100000000/" + segment + "-" + std::string(40, 'a'),
            "wal"));
    }

    void answer_as_a_server() {
        facts_.data_directory = data_.path();
        facts_.system_id = "7710195861716093438";
        server_.on(test::FakeFacts::kQuestion, facts_.rows());
        server_.on("clock_timestamp", [this](const auto&) -> Result<db::Rows> {
            clock_ms_ += 1000;
            if (at_clock_) at_clock_();
            return db::Rows{{std::to_string(clock_ms_)}};
        });
        server_.on("pg_current_wal_insert_lsn", {{"0/FF00"}});
        server_.on("pg_backup_start", {{"0/1000028"}});
        server_.on("pg_backup_stop", {{"0/1000100", "START WAL LOCATION: 0/1000028\n", ""}});
        server_.on("pg_tablespace", db::Rows{});
        server_.on("pg_database", {{"postgres", "5", "4"}});
        server_.on("SELECT 1", {{"1"}});
        server_.on("pg_try_advisory_lock", {{"true"}});
        server_.on("pg_advisory_unlock", {{"true"}});
        server_.on("pg_locks", {{"7", "chronos", "true"}});
        server_.on("pg_postmaster_start_time", {{"7710195861716093438-1"}});
    }
    void server_says(const test::FakeFacts& facts) {
        server_.on(test::FakeFacts::kQuestion, facts.rows());
    }

    /// Without what lies beside: signs of life, and whose the stanza is.
    std::vector<std::string> changes_of_backup() const {
        std::vector<std::string> changes = faults_->changes();
        std::erase_if(changes, [](const std::string& change) {
            return change.find(" chronos/") != std::string::npos;
        });
        return changes;
    }

    void touch(const std::string& name, std::chrono::hours age) {
        std::filesystem::last_write_time(data_.path() + "/" + name,
                                         std::filesystem::file_time_type::clock::now() - age);
    }

    Result<BackupResult> run() { return run_backup(request_, server_, progress_, cancel_); }

    repo::BackupInfo info() {
        auto loaded = repo::load_backup_info_reconstructed(request_.repository, "main");
        EXPECT_OK(loaded);
        return loaded->info;
    }
    repo::Manifest manifest(const std::string& label) {
        auto loaded = repo::load_manifest(request_.repository, "main", label, info().cipher_pass);
        EXPECT_OK(loaded);
        return *loaded;
    }
    /// Every listed backup is whole: its manifest loads, and its files are what it says.
    void expect_valid() {
        for (const repo::BackupEntry& backup : info().backups) {
            const repo::Manifest loaded = manifest(backup.label);
            for (const repo::ManifestFile& file : loaded.files) {
                EXPECT_EQ(crypto::sha1_hex(content_of(loaded, file)), file.expected_checksum())
                    << file.name.view();
                expect_stored(loaded, file);
            }
        }
    }
    /// What a restore would get.
    std::string content_of(const repo::Manifest& backup, const repo::ManifestFile& file) {
        if (file.block_incremental()) return content_of_blocks(backup, file);
        io::MemorySink content;
        EXPECT_OK(
            repo::read_whole_file(request_.repository, request_.stanza, backup, file, content));
        return content.content;
    }
    std::string content_of_blocks(const repo::Manifest& backup, const repo::ManifestFile& file) {
        std::string content(file.size, '\0');
        const auto map = repo::read_block_map(request_.repository, "main", backup, file);
        EXPECT_OK(map);
        EXPECT_OK(repo::read_blocks(request_.repository, "main", backup, file, *map, {},
                                    [&](std::uint64_t number, io::Bytes block) -> Result<> {
                                        content.replace(number * file.block_size, block.size(),
                                                        io::text(block));
                                        return {};
                                    }));
        return content;
    }
    /// The stored bytes are those whose checksum the manifest has. A file without content need not
    /// be stored if the backup has bundles.
    void expect_stored(const repo::Manifest& backup, const repo::ManifestFile& file) {
        if (file.size == 0 && file.repo_size == 0 && backup.bundle) return;
        const repo::StoredLocation place = repo::locate(request_.stanza, backup, file);
        const auto source = memory_.open(place.object, place.range);
        ASSERT_OK(source);
        const auto stored = io::read_all(**source);
        ASSERT_OK(stored);
        EXPECT_EQ(stored->size(), file.repo_size) << file.name.view();
        EXPECT_EQ(crypto::sha1_hex(*stored), file.repo_checksum.empty()
                                                 ? std::string(file.expected_checksum())
                                                 : file.repo_checksum.str())
            << file.name.view();
    }

    DataDirectory data_;
    test::TemporaryDirectory locks_;
    MemoryStorage memory_;
    std::shared_ptr<FaultStorage> faults_;
    test::FakeConnection server_;
    test::FakeFacts facts_;
    std::int64_t clock_ms_ = 0;
    std::function<void()> at_clock_;
    BackupRequest request_ = plain_request();
    ProgressReceiver progress_;
    Cancellation cancel_;
};

/// "<label>" for the label, which depends on the time. Signs of life are left out: nothing of a
/// backup rests on them.
std::vector<std::string> without_label(std::vector<std::string> changes, const std::string& label) {
    std::erase_if(changes, [](const std::string& change) {
        return change.find(" chronos/main/") != std::string::npos;
    });
    for (std::string& change : changes)
        for (std::size_t at; (at = change.find(label)) != std::string::npos;)
            change.replace(at, label.size(), "<label>");
    return changes;
}

// The order is the proof of durability: the files, the barrier, and only then what speaks of them;
// backup.manifest before backup.info; nothing is written twice but the partial manifest.
TEST_F(RunBackup, ChangesTheRepositoryInThisOrder) {
    const auto result = run();
    ASSERT_OK(result);
    const std::string year = result->entry.label.substr(0, 4);
    EXPECT_THAT(
        without_label(faults_->changes(), result->entry.label),
        ElementsAre("create backup/main/<label>/backup.manifest.copy",
                    "finish backup/main/<label>/backup.manifest.copy",
                    "create backup/main/<label>/pg_data/base/5/1259",
                    "finish backup/main/<label>/pg_data/base/5/1259",
                    "create backup/main/<label>/pg_data/PG_VERSION",
                    "finish backup/main/<label>/pg_data/PG_VERSION",
                    "create backup/main/<label>/pg_data/base/5/2619",
                    "finish backup/main/<label>/pg_data/base/5/2619",
                    "create backup/main/<label>/pg_data/global/pg_control",
                    "finish backup/main/<label>/pg_data/global/pg_control",
                    "sync_tree backup/main/<label>",
                    "create backup/main/<label>/pg_data/backup_label",
                    "finish backup/main/<label>/pg_data/backup_label",
                    "create backup/main/<label>/backup.manifest.copy",
                    "finish backup/main/<label>/backup.manifest.copy",
                    "create backup/main/<label>/backup.manifest.copy",
                    "finish backup/main/<label>/backup.manifest.copy",
                    "create backup/main/<label>/backup.manifest",
                    "finish backup/main/<label>/backup.manifest",
                    "create backup/main/backup.history/" + year + "/<label>.manifest.gz",
                    "finish backup/main/backup.history/" + year + "/<label>.manifest.gz",
                    "create archive/main/archive.info", "finish archive/main/archive.info",
                    "create archive/main/archive.info.copy",
                    "finish archive/main/archive.info.copy", "make_link backup/main/latest",
                    "create backup/main/backup.info", "finish backup/main/backup.info",
                    "create backup/main/backup.info.copy", "finish backup/main/backup.info.copy"));
    expect_valid();
}

Operation operation_of(const std::string& name) {
    if (name == "create") return Operation::create;
    if (name == "finish") return Operation::finish;
    if (name == "make_link") return Operation::make_link;
    if (name == "remove_tree") return Operation::remove_tree;
    EXPECT_EQ(name, "sync_tree");
    return Operation::sync_tree;
}

/// Makes the change at `index` of a former run fail, of whatever label the new one is.
Fault fault_at(const std::vector<std::string>& changes, std::size_t index) {
    const std::string& change = changes[index];
    const std::size_t blank = change.find(' ');
    std::string pattern = change.substr(blank + 1);
    const std::size_t label = pattern.find("<label>");
    if (label != std::string::npos) pattern.replace(label, 7, "*");
    Fault fault;
    fault.operation = operation_of(change.substr(0, blank));
    fault.pattern = pattern;
    fault.first_call =
        1 + static_cast<unsigned>(std::count(
                changes.begin(), changes.begin() + static_cast<std::ptrdiff_t>(index), change));
    fault.calls = Fault::kEver;
    return fault;
}

enum class Form { files, bundles, blocks };
class CutOff : public RunBackup, public testing::WithParamInterface<Form> {};

TEST_P(CutOff, AnywhereLeavesAValidRepositoryAndTheNextOneWorks) {
    request_.compress_type = compress::CompressType::lz4;
    request_.bundle = GetParam() != Form::files;
    request_.block = GetParam() == Form::blocks;
    request_.bundle_limit = 20000;
    const auto first = run();
    ASSERT_OK(first);
    const auto changes = without_label(faults_->changes(), first->entry.label);
    ASSERT_GT(changes.size(), 25u);
    for (std::size_t index = 0; index < changes.size(); ++index) {
        SCOPED_TRACE("cut off at " + changes[index]);
        const std::size_t before = info().backups.size();
        faults_ = std::make_shared<FaultStorage>(memory_);
        faults_->add(fault_at(changes, index));
        request_.repository.storage = faults_;
        EXPECT_FALSE(static_cast<bool>(run()));
        memory_.crash();
        request_.repository.storage = std::make_shared<FaultStorage>(memory_);
        expect_valid();
        const std::size_t after = info().backups.size();
        EXPECT_GE(after, before);
        ASSERT_OK(run());
        expect_valid();
        EXPECT_EQ(info().backups.size(), after + 1);
    }
}

std::string form_name(const testing::TestParamInfo<Form>& tested) {
    switch (tested.param) {
        case Form::files: return "Files";
        case Form::bundles: return "Bundles";
        case Form::blocks: break;
    }
    return "Blocks";
}

INSTANTIATE_TEST_SUITE_P(Forms, CutOff, testing::Values(Form::files, Form::bundles, Form::blocks),
                         form_name);

// The lock is one of the server: others have other lock files.
TEST_F(RunBackup, IsRefusedWhileAnotherSessionHoldsTheLock) {
    server_.on("pg_try_advisory_lock", {{"false"}});
    server_.on("pg_locks", {{"4711", "pgBackRest [backup]", "false"}});
    const auto refused = run();
    EXPECT_ERROR(ErrorKind::lock_acquire, refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("4711 (pgBackRest [backup])"));
    EXPECT_THAT(faults_->changes(), testing::IsEmpty());
}

// Advisory locks are of one database each.
TEST_F(RunBackup, IsRefusedWhileTheLockIsHeldInAnotherDatabase) {
    server_.on("pg_locks", {{"7", "chronos", "true"}, {"4711", "pgBackRest [backup]", "false"}});
    EXPECT_ERROR(ErrorKind::lock_acquire, run());
    EXPECT_TRUE(server_.was_asked("pg_advisory_unlock"));
}

// An archiver makes the stanza while the first backup begins.
TEST_F(RunBackup, WaitsForWhoHoldsTheLockForAMoment) {
    request_.lock_keys = {1};
    const repo::LockRequest request{locks_.path(), request_.stanza, repo::LockType::backup, 1,
                                    "1-00000001"};
    auto held = repo::Lock::acquire(request);
    ASSERT_OK(held);
    EXPECT_ERROR(ErrorKind::lock_acquire, run());
    std::thread other([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(200));
        held->reset();
    });
    EXPECT_OK(run());
    other.join();
}

TEST_F(RunBackup, GivesTheLockBack) {
    ASSERT_OK(run());
    EXPECT_THAT(server_.asked.back(), HasSubstr("pg_advisory_unlock"));
}

/// Something that happens while files are copied.
class Meanwhile : public RunBackup {
protected:
    /// Runs it once the first data file is being stored.
    void meanwhile(std::function<void(const std::string& label)> event) {
        faults_->watch = [this, event = std::move(event)](Operation operation,
                                                          const std::string& name) {
            const std::size_t at = name.find("/pg_data/base/5/1259");
            if (operation != Operation::create || at == std::string::npos || happened_) return;
            happened_ = true;
            event(name.substr(0, at).substr(name.substr(0, at).rfind('/') + 1));
        };
    }
    bool happened_ = false;
};

TEST_F(Meanwhile, AnotherOneWritesThePartialManifest) {
    meanwhile([&](const std::string& label) {
        ASSERT_OK(storage::write_object(memory_, "backup/main/" + label + "/backup.manifest.copy",
                                        "of somebody else"));
    });
    EXPECT_ERROR(ErrorKind::lock_acquire, run());
    EXPECT_TRUE(happened_);
    EXPECT_THAT(info().backups, testing::IsEmpty());
}

TEST_F(Meanwhile, ThePriorIsRemoved) {
    const auto full = run();
    ASSERT_OK(full);
    data_.write("base/5/1259", std::string(4 * 8192, 'x'));
    request_.type = repo::BackupType::incr;
    meanwhile([&](const std::string&) {
        ASSERT_OK(memory_.remove_tree("backup/main/" + full->entry.label));
    });
    EXPECT_ERROR(ErrorKind::backup_set_invalid, run());
    EXPECT_TRUE(happened_);
    EXPECT_THAT(info().backups, testing::IsEmpty());
}

// Their backups are not forgotten by the one who comes last.
TEST_F(Meanwhile, AnotherBackupIsListed) {
    const auto full = run();
    ASSERT_OK(full);
    data_.write("base/5/1259", std::string(4 * 8192, 'x'));
    request_.type = repo::BackupType::incr;
    meanwhile([&](const std::string&) {
        auto known = repo::load_backup_info(request_.repository, "main");
        ASSERT_OK(known);
        known->backups.front().annotations["by"] = "somebody else";
        ASSERT_OK(repo::save_backup_info(request_.repository, "main", *known));
    });
    ASSERT_OK(run());
    EXPECT_TRUE(happened_);
    ASSERT_EQ(info().backups.size(), 2u);
    EXPECT_EQ(info().backups.front().annotations.at("by"), "somebody else");
}

TEST_F(Meanwhile, TheLockIsLost) {
    meanwhile([&](const std::string&) { server_.on("pg_locks", db::Rows{}); });
    EXPECT_ERROR(ErrorKind::lock_acquire, run());
    EXPECT_THAT(info().backups, testing::IsEmpty());
}

/// A full backup that was cut off when all was copied and nothing published.
class Resume : public RunBackup {
protected:
    void SetUp() override {
        RunBackup::SetUp();
        request_.compress_type = compress::CompressType::lz4;
    }

    void interrupt(const std::function<void(repo::Manifest&)>& change = {}) {
        const auto before = storage::read_object(memory_, "backup/main/backup.info");
        ASSERT_OK(before);
        const auto done = run();
        ASSERT_OK(done);
        label_ = done->entry.label;
        repo::Manifest partial = manifest(label_);
        if (change) change(partial);
        for (const char* name : {"backup.info", "backup.info.copy"})
            ASSERT_OK(storage::write_object(memory_, std::string("backup/main/") + name, *before));
        ASSERT_OK(memory_.remove(path("backup.manifest")));
        ASSERT_OK(repo::write_text(request_.repository, path("backup.manifest.copy"),
                                   repo::format_manifest(partial), info().cipher_pass));
        faults_ = std::make_shared<FaultStorage>(memory_);
        request_.repository.storage = faults_;
    }
    std::string path(const std::string& name) const { return "backup/main/" + label_ + "/" + name; }
    /// Names of data files that were stored since.
    std::vector<std::string> stored_anew() {
        std::vector<std::string> names;
        const std::string prefix = "create " + path("");
        for (const std::string& change : faults_->changes())
            if (change.starts_with(prefix) && change.find("manifest") == std::string::npos)
                names.push_back(change.substr(prefix.size()));
        return names;
    }
    bool resumes() {
        const auto result = run();
        EXPECT_OK(result);
        expect_valid();
        return result && result->entry.label == label_;
    }

    std::string label_;
};

TEST_F(Resume, StoresOnlyWhatIsNotThere) {
    interrupt();
    EXPECT_TRUE(resumes());
    EXPECT_THAT(stored_anew(),
                ElementsAre("pg_data/base/5/2619.lz4", "pg_data/global/pg_control.lz4",
                            "pg_data/backup_label.lz4"));
}

TEST_F(Resume, StoresWhatHasChangedInSizeOrTimeOrInTheRepository) {
    data_.write("base/5/1", std::string(100, 'a'));
    data_.write("base/5/2", std::string(90, 'a'));
    data_.write("base/5/3", std::string(80, 'a'));
    interrupt();
    data_.write("base/5/1", std::string(101, 'b'));
    touch("base/5/2", std::chrono::hours(20));
    ASSERT_OK(storage::write_object(memory_, path("pg_data/base/5/3.lz4"), "damaged"));
    EXPECT_TRUE(resumes());
    EXPECT_THAT(stored_anew(),
                ElementsAre("pg_data/base/5/1.lz4", "pg_data/base/5/2.lz4", "pg_data/base/5/3.lz4",
                            "pg_data/base/5/2619.lz4", "pg_data/global/pg_control.lz4",
                            "pg_data/backup_label.lz4"));
}

TEST_F(Resume, ReadsEverythingIfTimesSayNothing) {
    data_.write("base/5/1", std::string(100, 'a'));
    interrupt();
    data_.write("base/5/1", std::string(100, 'b'));
    touch("base/5/1259", std::chrono::hours(20));
    request_.delta = true;
    EXPECT_TRUE(resumes());
    EXPECT_THAT(stored_anew(), testing::Contains("pg_data/base/5/1.lz4"));
    EXPECT_THAT(stored_anew(), testing::Not(testing::Contains("pg_data/base/5/1259.lz4")));
}

TEST_F(Resume, RemovesWhatItHasNoUseFor) {
    request_.bundle = true;
    request_.bundle_limit = 8192;
    interrupt();
    ASSERT_OK(storage::write_object(memory_, path("pg_data/base/5/77.lz4"), "dropped since"));
    ASSERT_OK(storage::write_object(memory_, path("bundle/9"), "left over"));
    ASSERT_OK(storage::write_object(memory_, path("pg_data/base/5/1259.gz"), "of another kind"));
    EXPECT_TRUE(resumes());
    EXPECT_FALSE(storage::exists(memory_, path("pg_data/base/5/77.lz4")).value());
    EXPECT_FALSE(storage::exists(memory_, path("pg_data/base/5/1259.gz")).value());
    EXPECT_FALSE(storage::exists(memory_, path("bundle/9")).value());
    EXPECT_THAT(stored_anew(), ElementsAre("bundle/1", "bundle/2", "pg_data/backup_label.lz4"));
}

TEST_F(Resume, KeepsFilesOfBlocks) {
    request_.bundle = request_.block = true;
    request_.bundle_limit = 8192;
    interrupt();
    EXPECT_TRUE(resumes());
    EXPECT_THAT(stored_anew(), ElementsAre("bundle/1", "bundle/2", "pg_data/backup_label.lz4"));
    const repo::Manifest backup = manifest(label_);
    EXPECT_TRUE(backup.find_file("pg_data/base/5/1259")->block_incremental());
}

// As it is of no use in a backup that has all in blocks.
TEST_F(Resume, StoresAWholeFileAnewWhereAllAreInBlocks) {
    request_.bundle = request_.block = true;
    request_.bundle_limit = 8192;
    data_.write("base/5/2", std::string(80'000, 'o'));
    touch("base/5/2", std::chrono::hours(24 * 40));
    interrupt([](repo::Manifest& partial) {
        EXPECT_FALSE(partial.find_file("pg_data/base/5/2")->block_incremental());
    });
    request_.block_rules.always = true;
    EXPECT_TRUE(resumes());
    EXPECT_THAT(stored_anew(), testing::Contains("pg_data/base/5/2.pgbi"));
    EXPECT_THAT(stored_anew(), testing::Not(testing::Contains("pg_data/base/5/1259.pgbi")));
    EXPECT_FALSE(storage::exists(memory_, path("pg_data/base/5/2.lz4")).value());
    EXPECT_TRUE(manifest(label_).find_file("pg_data/base/5/2")->block_incremental());
}

TEST_F(Resume, NeedsAPartialManifestOfTheSameKind) {
    interrupt([](repo::Manifest& partial) {
        partial.options.compress_type = compress::CompressType::gz;
    });
    EXPECT_FALSE(resumes());
    EXPECT_FALSE(storage::exists(memory_, "backup/main/" + label_).value());
    interrupt();
    ASSERT_OK(memory_.remove(path("backup.manifest.copy")));
    EXPECT_FALSE(resumes());
    interrupt();
    ASSERT_OK(storage::write_object(memory_, path("backup.manifest.copy"), "half a li"));
    EXPECT_FALSE(resumes());
    interrupt();
    request_.resume = false;
    EXPECT_FALSE(resumes());
    interrupt();
    request_.resume = true;
    request_.type = repo::BackupType::incr;
    EXPECT_FALSE(resumes());
}

// As an older pgBackRest leaves it: without checksums of the stored bytes.
TEST_F(Resume, GoesOnWithABackupOfAnOlderVersion) {
    data_.write("base/5/1", std::string(100, 'a'));
    data_.write("base/5/2", std::string(90, 'a'));
    interrupt([](repo::Manifest& partial) {
        partial.backrest_version = "2.45";
        for (repo::ManifestFile& file : partial.files) file.repo_checksum = {};
    });
    ASSERT_OK(storage::write_object(memory_, path("pg_data/base/5/2.lz4"), "damaged"));
    EXPECT_TRUE(resumes());
    EXPECT_THAT(stored_anew(),
                ElementsAre("pg_data/base/5/2.lz4", "pg_data/base/5/2619.lz4",
                            "pg_data/global/pg_control.lz4", "pg_data/backup_label.lz4"));
}

// Each attempt gets one change further than the one before it, on what that one has left.
TEST_F(Resume, CanBeCutOffAsWell) {
    request_.bundle = request_.block = true;
    request_.bundle_limit = 8192;
    interrupt();
    ASSERT_OK(storage::write_object(memory_, path("pg_data/base/5/77.lz4"), "dropped since"));
    for (unsigned call = 1; call < 60; ++call) {
        faults_ = std::make_shared<FaultStorage>(memory_);
        request_.repository.storage = faults_;
        Fault fault;
        fault.operation = call % 2 == 0 ? Operation::create : Operation::finish;
        fault.pattern = "*";
        fault.first_call = (call + 1) / 2;
        fault.calls = Fault::kEver;
        faults_->add(fault);
        const bool done = static_cast<bool>(run());
        memory_.crash();
        request_.repository.storage = std::make_shared<FaultStorage>(memory_);
        expect_valid();
        if (done) break;
    }
    ASSERT_OK(run());
    expect_valid();
    EXPECT_GE(info().backups.size(), 1u);
}

TEST_F(RunBackup, StoresBlocksThatChanged) {
    request_.bundle = request_.block = true;
    std::string content(40 * 8192, '\0');
    data_.write("base/5/1259", content);
    const auto full = run();
    ASSERT_OK(full);
    EXPECT_TRUE(manifest(full->entry.label).bundle_raw);
    for (int step = 1; step <= 3; ++step) {
        request_.type = step == 1 ? repo::BackupType::diff : repo::BackupType::incr;
        content[static_cast<std::size_t>(step) * 9000] = 'x';
        data_.write("base/5/1259", content);
        touch("base/5/1259", std::chrono::hours(20 - step));
        const auto dependent = run();
        ASSERT_OK(dependent);
        const repo::Manifest backup = manifest(dependent->entry.label);
        EXPECT_TRUE(backup.block_incr);
        const repo::ManifestFile* file = backup.find_file("pg_data/base/5/1259");
        EXPECT_EQ(file->block_size, 8192u);
        EXPECT_LT(file->repo_size, 8192u + 1000u);
        expect_valid();
    }
    // Touched and not changed: nothing is stored.
    touch("base/5/1259", std::chrono::hours(10));
    const auto last = run();
    ASSERT_OK(last);
    EXPECT_NE(manifest(last->entry.label).find_file("pg_data/base/5/1259")->reference, "");
    // A backup without blocks stores it whole, and the next one with them begins anew.
    content[0] = 'y';
    data_.write("base/5/1259", content);
    touch("base/5/1259", std::chrono::hours(9));
    request_.block = false;
    const auto whole = run();
    ASSERT_OK(whole);
    repo::Manifest backup = manifest(whole->entry.label);
    EXPECT_TRUE(backup.bundle_raw);
    EXPECT_FALSE(backup.find_file("pg_data/base/5/1259")->block_incremental());
    EXPECT_EQ(backup.find_file("pg_data/base/5/1259")->block_size, 8192u);
    request_.block = true;
    content[0] = 'z';
    data_.write("base/5/1259", content);
    touch("base/5/1259", std::chrono::hours(8));
    const auto again = run();
    ASSERT_OK(again);
    backup = manifest(again->entry.label);
    EXPECT_TRUE(backup.find_file("pg_data/base/5/1259")->block_incremental());
    EXPECT_GT(backup.find_file("pg_data/base/5/1259")->repo_size, content.size());
    expect_valid();
}

// A file that did not change stays the prior's, however that has it, until the next full backup.
TEST_F(RunBackup, BlocksAlwaysHoldForWhatIsStoredAnew) {
    request_.bundle = request_.block = true;
    std::string content(40 * 8192, 'o');
    for (const char* name : {"base/5/1", "base/5/2"}) {
        data_.write(name, content);
        touch(name, std::chrono::hours(24 * 40));
    }
    const auto in_blocks = [&](const std::string& label, const char* name) {
        return manifest(label).find_file(std::string("pg_data/") + name)->block_incremental();
    };
    const auto whole = run();
    ASSERT_OK(whole);
    EXPECT_FALSE(in_blocks(whole->entry.label, "base/5/1"));

    request_.block_rules.always = true;
    request_.type = repo::BackupType::incr;
    content[0] = 'n';
    data_.write("base/5/2", content);
    touch("base/5/2", std::chrono::hours(20));
    const auto dependent = run();
    ASSERT_OK(dependent);
    EXPECT_FALSE(in_blocks(dependent->entry.label, "base/5/1"));
    EXPECT_EQ(manifest(dependent->entry.label).find_file("pg_data/base/5/1")->reference,
              whole->entry.label);
    EXPECT_TRUE(in_blocks(dependent->entry.label, "base/5/2"));
    expect_valid();

    request_.type = repo::BackupType::full;
    const auto full = run();
    ASSERT_OK(full);
    const repo::Manifest backup = manifest(full->entry.label);
    EXPECT_EQ(backup.find_file("pg_data/base/5/1")->block_size, 4u * 8192);
    for (const repo::ManifestFile& file : backup.files)
        EXPECT_TRUE(file.block_incremental() || file.size < 16384) << file.name.view();
    expect_valid();
}

TEST_F(RunBackup, APriorMapThatCannotBeReadCostsSpaceAndNotTheBackup) {
    request_.bundle = request_.block = true;
    request_.bundle_limit = 8192;
    std::string content(40 * 8192, '\0');
    data_.write("base/5/1259", content);
    const auto full = run();
    ASSERT_OK(full);
    const std::string object = "backup/main/" + full->entry.label + "/pg_data/base/5/1259.pgbi";
    const auto stored = memory_.info(object);
    ASSERT_OK(stored);
    ASSERT_OK(storage::write_object(memory_, object, std::string((*stored)->size, 'x')));
    content[5] = 'x';
    data_.write("base/5/1259", content);
    touch("base/5/1259", std::chrono::hours(20));
    request_.type = repo::BackupType::incr;
    const auto incr = run();
    ASSERT_OK(incr);
    const repo::Manifest backup = manifest(incr->entry.label);
    EXPECT_EQ(content_of(backup, *backup.find_file("pg_data/base/5/1259")), content);
}

/// A repository that has lost something of the prior: the next backup stores that again.
class PriorLost : public RunBackup, public testing::WithParamInterface<Form> {
protected:
    void SetUp() override {
        RunBackup::SetUp();
        request_.bundle = GetParam() != Form::files;
        request_.block = GetParam() == Form::blocks;
        request_.bundle_limit = 20000;
        data_.write("base/5/1", std::string(5000, 'x'));
        data_.write("base/5/2", std::string(40 * 8192, 'y'));
    }
    /// The object of a file.
    std::string object_of(const std::string& label, const std::string& name) {
        const repo::Manifest backup = manifest(label);
        return repo::locate("main", backup, *backup.find_file(name)).object;
    }
    void expect_next_is_whole(const std::string& full, const std::string& kept) {
        request_.type = repo::BackupType::incr;
        const auto next = run();
        ASSERT_OK(next);
        const repo::Manifest backup = manifest(next->entry.label);
        for (const repo::ManifestFile& file : backup.files) {
            EXPECT_EQ(crypto::sha1_hex(content_of(backup, file)), file.expected_checksum())
                << file.name.view();
            expect_stored(backup, file);
        }
        EXPECT_EQ(backup.find_file(kept)->reference, full);
    }
    /// The object of one file is removed from a full backup; that of another is kept.
    void lose(const std::string& lost, const std::string& kept) {
        const auto full = run();
        ASSERT_OK(full);
        const std::string label = full->entry.label;
        ASSERT_OK(memory_.remove(object_of(label, lost)));
        expect_next_is_whole(label, kept);
    }
};

TEST_P(PriorLost, AnObject) {
    lose("pg_data/base/5/1", "pg_data/base/5/2");
}

TEST_P(PriorLost, ALargeFile) {
    lose("pg_data/base/5/2", "pg_data/base/5/1");
}

TEST_P(PriorLost, TheEndOfAnObject) {
    const auto full = run();
    ASSERT_OK(full);
    const std::string object = object_of(full->entry.label, "pg_data/base/5/1");
    const auto content = storage::read_object(memory_, object);
    ASSERT_OK(content);
    ASSERT_OK(storage::write_object(memory_, object,
                                    std::string_view(*content).substr(0, content->size() - 1)));
    expect_next_is_whole(full->entry.label, "pg_data/base/5/2");
}

// Through a chain: what an incr refers to lies in the full.
TEST_P(PriorLost, WhatThePriorItselfRefersTo) {
    const auto full = run();
    ASSERT_OK(full);
    request_.type = repo::BackupType::incr;
    ASSERT_OK(run());
    ASSERT_OK(memory_.remove(object_of(full->entry.label, "pg_data/base/5/1")));
    expect_next_is_whole(full->entry.label, "pg_data/base/5/2");
}

INSTANTIATE_TEST_SUITE_P(Forms, PriorLost,
                         testing::Values(Form::files, Form::bundles, Form::blocks), form_name);

TEST_F(RunBackup, WithBundlesMakesNoOtherObjectsThanThese) {
    data_.write("base/5/9999", std::string(9000, 'x'));
    request_.bundle = true;
    request_.bundle_limit = 8192;
    const auto result = run();
    ASSERT_OK(result);
    const auto objects = memory_.list_tree("backup/main/" + result->entry.label);
    ASSERT_OK(objects);
    std::vector<std::string> names;
    for (const storage::Entry& entry : *objects) names.push_back(entry.name);
    EXPECT_THAT(names,
                ElementsAre("backup.manifest", "backup.manifest.copy", "bundle/1", "bundle/2",
                            "pg_data/backup_label", "pg_data/base/5/1259", "pg_data/base/5/9999"));
    const repo::Manifest backup = manifest(result->entry.label);
    EXPECT_TRUE(backup.bundle);
    EXPECT_FALSE(backup.bundle_raw);
    EXPECT_EQ(backup.find_file("pg_data/PG_VERSION")->bundle_id, 1u);
    EXPECT_EQ(backup.find_file("pg_data/global/pg_control")->bundle_id, 2u);
    expect_valid();
}

TEST_F(RunBackup, AFileOfABundleThatIsGoneOrEmptyOrUnchangedLeavesNothingInIt) {
    request_.bundle = true;
    for (const char* name : {"base/5/1", "base/5/2", "base/5/3", "base/5/4"})
        data_.write(name, std::string(1000, name[7]));
    const auto full = run();
    ASSERT_OK(full);
    request_.type = repo::BackupType::incr;
    for (const char* name : {"base/5/1", "base/5/2", "base/5/3"})
        data_.write(name, std::string(1000, name[7]) + (name[7] == '3' ? "" : "!"));
    std::filesystem::last_write_time(
        data_.path() + "/base/5/3",
        std::filesystem::file_time_type::clock::now() - std::chrono::hours(20));
    data_.write("base/5/9", "content");
    at_clock_ = [this, looks = 0]() mutable {
        if (++looks != 2) return;
        data_.remove("base/5/1");
        data_.write("base/5/2", "");
    };
    const auto incr = run();
    ASSERT_OK(incr);
    const repo::Manifest backup = manifest(incr->entry.label);
    EXPECT_EQ(backup.find_file("pg_data/base/5/1"), nullptr);
    EXPECT_EQ(backup.find_file("pg_data/base/5/2")->size, 0u);
    EXPECT_FALSE(backup.find_file("pg_data/base/5/2")->bundled());
    EXPECT_EQ(backup.find_file("pg_data/base/5/3")->reference, full->entry.label);
    const auto bundle = memory_.info("backup/main/" + incr->entry.label + "/bundle/1");
    ASSERT_OK(bundle);
    EXPECT_EQ((*bundle)->size, 7u);
    expect_valid();
}

TEST_F(RunBackup, RecordsWhatTheServerSaidAndWhatWasCopied) {
    request_.annotations = {{"by", "test"}};
    request_.compress_type = compress::CompressType::gz;
    const auto result = run();
    ASSERT_OK(result);
    const repo::Manifest backup = manifest(result->entry.label);
    EXPECT_EQ(backup.type, repo::BackupType::full);
    EXPECT_EQ(backup.lsn_start->str(), "0/1000028");
    EXPECT_EQ(backup.archive_start, kSecondSegment);
    EXPECT_EQ(backup.archive_stop, kSecondSegment);
    EXPECT_EQ(backup.annotations.at("by"), "test");
    EXPECT_EQ(backup.databases.front().name, "postgres");
    EXPECT_THAT(backup.references, ElementsAre(result->entry.label));
    EXPECT_GT(backup.timestamp_copy_start, backup.timestamp_start);
    const repo::ManifestFile* control = backup.find_file("pg_data/global/pg_control");
    ASSERT_NE(control, nullptr);
    EXPECT_EQ(control->size, pgdata::kControlFileSize);
    const repo::ManifestFile* table = backup.find_file("pg_data/base/5/1259");
    ASSERT_NE(table, nullptr);
    EXPECT_TRUE(table->page_checked);
    EXPECT_FALSE(table->page_error);
    EXPECT_LT(table->repo_size, table->size);
    EXPECT_TRUE(backup.options.checksum_page.value());
    expect_valid();
}

class Checksums : public RunBackup {
protected:
    /// 0: off, 1: on, 2 and 3: being turned off and on.
    void become(char state) {
        constexpr std::size_t kStateAt = 252;
        constexpr std::size_t kCrcAt = 288;
        std::string control = pgdata::control_15();
        control[kStateAt] = state;
        const std::uint32_t crc = pgdata::crc32c(io::bytes(control).first(kCrcAt));
        for (std::size_t i = 0; i < 4; ++i) control[kCrcAt + i] = static_cast<char>(crc >> (8 * i));
        control.resize(pgdata::kControlFileSize, '\0');
        data_.write("global/pg_control", control);
    }
    /// A page that has never got a checksum.
    void write_page(const std::string& name, char content) {
        std::string page(8192, content);
        data_.write(name, page);
    }
    repo::Manifest backup(repo::BackupType type) {
        request_.type = type;
        const auto result = run();
        EXPECT_OK(result);
        return manifest(result->entry.label);
    }
};

// Neither finds every page bad nor stops checking for ever.
TEST_F(Checksums, AreNotAskedOfPagesWhileTheyAreTurnedOnAndAreAfterwards) {
    write_page("base/5/20000", 'a');
    write_page("base/5/20001", 'a');
    become(3);
    const repo::Manifest during = backup(repo::BackupType::full);
    EXPECT_FALSE(during.options.checksum_page.value());
    EXPECT_FALSE(during.find_file("pg_data/base/5/20000")->page_checked);
    EXPECT_FALSE(info().backups.back().error.value_or(false));
    become(1);
    data_.write("base/5/20000", std::string(2 * 8192, 'b'));
    data_.write("base/5/20001", std::string(2 * 8192, '\0'));
    const repo::Manifest after = backup(repo::BackupType::incr);
    EXPECT_TRUE(after.options.checksum_page.value());
    EXPECT_TRUE(after.find_file("pg_data/base/5/20000")->page_error);
    EXPECT_TRUE(after.find_file("pg_data/base/5/20001")->page_checked);
    EXPECT_FALSE(after.find_file("pg_data/base/5/20001")->page_error);
    EXPECT_FALSE(after.find_file("pg_data/base/5/1259")->page_checked) << "which is the prior's";
    EXPECT_TRUE(info().backups.back().error.value_or(false));
}

// Those that an earlier backup has stored, too: no restore takes either of them unasked.
TEST_F(Checksums, ThatAreWrongAreToldOfByEveryBackupThatHasThePages) {
    become(1);
    EXPECT_EQ(run().value().warning, "");
    write_page("base/5/20000", 'a');
    write_page("base/5/README", 'a');
    for (const auto type : {repo::BackupType::full, repo::BackupType::incr}) {
        request_.type = type;
        const auto result = run();
        ASSERT_OK(result);
        EXPECT_THAT(result->warning, HasSubstr("--no-checksum-page-error only"));
        EXPECT_THAT(result->warning, HasSubstr("pg_data/base/5/20000"));
        EXPECT_THAT(result->warning, Not(HasSubstr("README")));
    }
}

TEST_F(Checksums, ThatAreTurnedOffDuringTheBackupAreNotAskedForAnyMore) {
    write_page("base/5/20000", 'a');
    server_.on("pg_backup_start", [this](const auto&) -> Result<db::Rows> {
        become(2);
        return db::Rows{{"0/1000028"}};
    });
    const repo::Manifest during = backup(repo::BackupType::full);
    EXPECT_FALSE(during.options.checksum_page.value());
    EXPECT_FALSE(during.find_file("pg_data/base/5/20000")->page_checked);
    EXPECT_FALSE(info().backups.back().error.value_or(false));
}

TEST_F(Checksums, ThatAreCheckedStaySoInTheSet) {
    backup(repo::BackupType::full);
    request_.checksum_page = false;
    EXPECT_TRUE(backup(repo::BackupType::incr).options.checksum_page.value());
}

/// A cluster without a server: "shut down" stands in the pg_control that initdb leaves.
class Offline : public RunBackup {
protected:
    Offline() {
        data_.write("base/5/16384", std::string(8192, '\0'));
        data_.write("base/5/16384_init", "");
        data_.write("pg_wal/000000010000000000000001", "wal");
    }
    Result<BackupResult> run_offline() {
        return run_backups({request_}, nullptr, progress_, cancel_).front();
    }
    /// As a server that runs, or was killed, leaves it.
    void be_in_production() {
        constexpr std::size_t kStateAt = 16;
        constexpr std::size_t kCrcAt = 288;
        std::string control = pgdata::control_15();
        control[kStateAt] = 6;
        const std::uint32_t crc = pgdata::crc32c(io::bytes(control).first(kCrcAt));
        for (std::size_t i = 0; i < 4; ++i) control[kCrcAt + i] = static_cast<char>(crc >> (8 * i));
        control.resize(pgdata::kControlFileSize, '\0');
        data_.write("global/pg_control", control);
    }

    void SetUp() override {
        RunBackup::SetUp();
        request_.pgdata = data_.path();
    }
};

TEST_F(Offline, IsWholeByItself) {
    const auto result = run_offline();
    ASSERT_OK(result);
    EXPECT_TRUE(server_.asked.empty());
    const repo::Manifest backup = manifest(result->entry.label);
    EXPECT_FALSE(backup.options.online);
    EXPECT_FALSE(backup.options.archive_check);
    EXPECT_TRUE(backup.options.checksum_page.value());
    EXPECT_EQ(backup.archive_start, "");
    EXPECT_FALSE(backup.lsn_start);
    EXPECT_TRUE(backup.databases.empty());
    EXPECT_GE(backup.timestamp_stop, backup.timestamp_start);
    EXPECT_NE(backup.find_file("pg_data/pg_wal/000000010000000000000001"), nullptr);
    EXPECT_NE(backup.find_file("pg_data/base/5/16384"), nullptr)
        << "no recovery makes an unlogged relation afresh";
    EXPECT_EQ(backup.find_file("pg_data/backup_label"), nullptr);
    EXPECT_FALSE(result->entry.option_online);
    expect_valid();
}

TEST_F(Offline, OfAClusterThatRecoversIsWithoutWhatThatMakesAfresh) {
    be_in_production();
    const auto result = run_offline();
    ASSERT_OK(result);
    const repo::Manifest backup = manifest(result->entry.label);
    EXPECT_EQ(backup.find_file("pg_data/base/5/16384"), nullptr);
    EXPECT_NE(backup.find_file("pg_data/base/5/16384_init"), nullptr);
    EXPECT_FALSE(backup.options.checksum_page.value()) << "a page may be torn until then";
}

TEST_F(Offline, IsRefusedWhileAServerSeemsToRun) {
    data_.write("postmaster.pid", "1\n");
    EXPECT_ERROR(ErrorKind::pg_running, run_offline());
    EXPECT_THAT(changes_of_backup(), ElementsAre());
    request_.force = true;
    EXPECT_OK(run_offline());
}

// The files were copied while they changed, whether the server still runs or was stopped again.
TEST_F(Offline, IsRefusedIfAServerWasStartedMeanwhile) {
    std::function<void()> meanwhile = [this] { data_.write("postmaster.pid", "1\n"); };
    progress_ = [&](const Progress& progress) {
        if (std::string_view(progress.phase) == "sync") meanwhile();
    };
    EXPECT_ERROR(ErrorKind::pg_running, run_offline());
    data_.remove("postmaster.pid");
    meanwhile = [this] { be_in_production(); };
    EXPECT_ERROR(ErrorKind::pg_running, run_offline());
    EXPECT_TRUE(info().backups.empty());
}

TEST_F(Offline, NeedsTheWalThatAServerBeginsWith) {
    data_.remove("pg_wal/000000010000000000000001");
    data_.write("pg_wal/000000010000000000000002", "wal");
    EXPECT_ERROR(ErrorKind::path_missing, run_offline());
}

TEST_F(Offline, NeedsAChangeToBeAnotherOne) {
    ASSERT_OK(run_offline());
    request_.type = repo::BackupType::incr;
    EXPECT_ERROR(ErrorKind::not_found, run_offline());
    data_.write("base/5/1259", std::string(4 * 8192, '\0'));
    const auto result = run_offline();
    ASSERT_OK(result);
    EXPECT_EQ(result->entry.type, repo::BackupType::incr);
    EXPECT_FALSE(manifest(result->entry.label).options.delta);
    expect_valid();
}

// Times say nothing then: what the server has written since is of the same second, perhaps.
TEST_F(Offline, ReadsEverythingIfThePriorIsOnlineAndTheOtherWayRound) {
    ASSERT_OK(run());
    request_.type = repo::BackupType::incr;
    const auto offline = run_offline();
    ASSERT_OK(offline);
    EXPECT_TRUE(manifest(offline->entry.label).options.delta);
    const auto online = run();
    ASSERT_OK(online);
    EXPECT_TRUE(manifest(online->entry.label).options.delta);
    EXPECT_EQ(manifest(online->entry.label).find_file("pg_data/base/5/16384"), nullptr);
    expect_valid();
}

/// The server is a standby, whose primary cannot be asked.
class Standby : public RunBackup {
protected:
    Standby() {
        be_on_timeline(1);
        be(true);
        server_.on("pg_last_wal_replay_lsn", {{"0/2000100"}});
        server_.on("name = 'primary_conninfo'", {{""}});
        request_.copy_from = CopyFrom::either;
    }
    void be(bool in_recovery) {
        facts_.data_directory = data_.path();
        facts_.system_id = "7710195861716093438";
        facts_.in_recovery = in_recovery ? "true" : "false";
        server_says(facts_);
    }
    /// In recovery, and following that timeline.
    void be_on_timeline(char timeline) {
        constexpr std::size_t kStateAt = 16;
        constexpr std::size_t kRecoveryTimelineAt = 144;
        constexpr std::size_t kCrcAt = 288;
        std::string control = pgdata::control_15();
        control[kStateAt] = 5;
        control[kRecoveryTimelineAt] = timeline;
        const std::uint32_t crc = pgdata::crc32c(io::bytes(control).first(kCrcAt));
        for (std::size_t i = 0; i < 4; ++i) control[kCrcAt + i] = static_cast<char>(crc >> (8 * i));
        control.resize(pgdata::kControlFileSize, '\0');
        data_.write("global/pg_control", control);
    }
};

TEST_F(Standby, IsBackedUpWithoutWritingWal) {
    request_.copy_from = CopyFrom::standby;
    const auto result = run();
    ASSERT_OK(result);
    EXPECT_TRUE(result->entry.option_backup_standby);
    const repo::Manifest backup = manifest(result->entry.label);
    EXPECT_TRUE(backup.options.backup_standby.value());
    EXPECT_EQ(backup.archive_start, kSecondSegment);
    EXPECT_EQ(backup.archive_stop, kSecondSegment);
    EXPECT_THAT(changes_of_backup().front(), Not(HasSubstr("backup.manifest.copy")))
        << "another server could go on with it";
    for (const char* writes : {"pg_switch_wal", "pg_create_restore_point", "pg_current_wal"})
        EXPECT_FALSE(server_.was_asked(writes)) << writes;
    expect_valid();
}

TEST_F(Standby, IsRefusedWhereThePrimaryIsMeantAndTheOtherWayRound) {
    request_.copy_from = CopyFrom::primary;
    EXPECT_ERROR(ErrorKind::db_connect, run());
    be(false);
    request_.copy_from = CopyFrom::standby;
    EXPECT_ERROR(ErrorKind::db_connect, run());
    EXPECT_TRUE(info().backups.empty());
    EXPECT_FALSE(server_.was_asked("pg_backup_start"));
}

// Its WAL would be that of two timelines.
TEST_F(Standby, ThatFollowsToAnotherTimelineIsNoBackup) {
    server_.on("pg_backup_stop", [this](const auto&) -> Result<db::Rows> {
        be_on_timeline(2);
        return db::Rows{{"0/1000100", "START WAL LOCATION: 0/1000028\n", ""}};
    });
    EXPECT_ERROR(ErrorKind::db_mismatch, run());
    be_on_timeline(2);
    EXPECT_ERROR(ErrorKind::db_mismatch, run());  // there was no restartpoint on the new one
    EXPECT_TRUE(info().backups.empty());
}

TEST_F(Standby, SaysWhyWalMayNotCome) {
    server_.on("pg_backup_stop", {{"0/2000200", "START WAL LOCATION: 0/1000028\n", ""}});
    const auto result = run();
    EXPECT_ERROR(ErrorKind::archive_timeout, result);
    EXPECT_THAT(result.error().hint(), HasSubstr("primary_conninfo is not set"));
    EXPECT_TRUE(info().backups.empty());
}

// Files of two servers have unlike times, and equal ones say nothing.
TEST_F(Standby, AnythingBasedOnItOrThatItIsBasedOnIsReadWhole) {
    ASSERT_OK(run());
    request_.type = repo::BackupType::incr;
    for (const bool standby : {true, false, true}) {
        be(standby);
        const auto result = run();
        ASSERT_OK(result);
        EXPECT_TRUE(manifest(result->entry.label).options.delta);
    }
    be(false);
    ASSERT_OK(run());
    const auto own = run();
    ASSERT_OK(own);
    EXPECT_FALSE(manifest(own->entry.label).options.delta) << "both are the primary's";
    expect_valid();
}

// So that pgBackRest, which does not compare who was backed up, reads everything after it.
TEST_F(Standby, HasAFileOfALateTime) {
    const auto result = run();
    ASSERT_OK(result);
    const repo::Manifest backup = manifest(result->entry.label);
    EXPECT_GE(backup.find_file("pg_data/PG_VERSION")->timestamp, backup.timestamp_start);
    EXPECT_LT(backup.find_file("pg_data/base/5/1259")->timestamp, backup.timestamp_start);
}

TEST_F(RunBackup, SeveralThreadsFillDifferentBundles) {
    for (int number = 0; number < 300; ++number)
        data_.write("base/5/" + std::to_string(20000 + number),
                    std::string(static_cast<std::size_t>(number) * 97, 'a'));
    request_.process_max = 4;
    request_.bundle = true;
    request_.bundle_size = 100'000;
    request_.manifest_save_threshold = 1;
    request_.compress_type = compress::CompressType::zst;
    const auto result = run();
    ASSERT_OK(result);
    // Which thread comes first, and so gets the first bundle, is the scheduler's choice.
    const auto files = manifest(result->entry.label).files;
    EXPECT_GT(std::ranges::max(files, {}, &repo::ManifestFile::bundle_id).bundle_id, 1u);
    expect_valid();
}

TEST_F(RunBackup, SeveralThreadsStoreWhatOneWould) {
    for (int number = 0; number < 200; ++number)
        data_.write("base/5/" + std::to_string(20000 + number),
                    std::string(static_cast<std::size_t>(number % 7) * 8192, '\0'));
    request_.process_max = 4;
    request_.manifest_save_threshold = 1;  // partial manifests are saved while threads add to it
    request_.compress_type = compress::CompressType::zst;
    const auto result = run();
    ASSERT_OK(result);
    EXPECT_EQ(result->file_total, 205u);
    expect_valid();
}

TEST_F(RunBackup, CopiesTheWalItNeedsWhenAsked) {
    request_.archive_copy = true;
    const auto result = run();
    ASSERT_OK(result);
    const std::string name = std::string("pg_data/pg_wal/") + kSecondSegment;
    const auto stored =
        storage::read_object(memory_, "backup/main/" + result->entry.label + "/" + name);
    ASSERT_OK(stored);
    EXPECT_EQ(*stored, "wal");
    const repo::Manifest backup = manifest(result->entry.label);
    const repo::ManifestFile* file = backup.find_file(name);
    ASSERT_NE(file, nullptr);
    EXPECT_EQ(file->checksum, std::string(40, 'a'));  // as the archive's name says
    EXPECT_EQ(file->size, 16u << 20);
}

TEST_F(RunBackup, AFileThatVanishesIsLeftOut) {
    // The second look at the clock is when the list is complete.
    at_clock_ = [this, looks = 0]() mutable {
        if (++looks == 2) data_.remove("base/5/1259");
    };
    const auto result = run();
    ASSERT_OK(result);
    EXPECT_EQ(manifest(result->entry.label).find_file("pg_data/base/5/1259"), nullptr);
    EXPECT_NE(manifest(result->entry.label).find_file("pg_data/base/5/2619"), nullptr);
}

struct Change {
    const char* name;
    std::string (*content)(const std::string& before);
};

/// A file of some megabytes that the server changes when part of it has been read.
class ChangedDuringTheCopy : public RunBackup, public testing::WithParamInterface<Change> {
protected:
    static constexpr std::size_t kSize = 400 * std::size_t{8192};
    static std::string content_before() {
        std::string content(kSize, 'a');
        for (std::size_t at = 0; at < kSize; at += 7)
            content[at] = static_cast<char>(at * 31 % 251);
        return content;
    }
    /// Backs up while `change` is made; returns the label.
    std::string back_up(const std::string& after) {
        bool changed = false;
        faults_ = std::make_shared<FaultStorage>(memory_);
        faults_->watch = [&](Operation operation, const std::string& name) {
            const bool of_file = name.find("base/5/7") != std::string::npos || name.ends_with("/1");
            if (changed || operation != Operation::write || !of_file) return;
            changed = true;
            data_.write("base/5/7", after);
        };
        request_.repository.storage = faults_;
        const auto result = run();
        faults_->watch = {};
        EXPECT_OK(result);
        EXPECT_TRUE(changed);
        return result ? result->entry.label : "";
    }
};

TEST_P(ChangedDuringTheCopy, TheBackupIsWholeAndTheNextOneHasTheChange) {
    const std::string before = content_before();
    const std::string after = GetParam().content(before);
    for (const Form form : {Form::files, Form::bundles, Form::blocks})
        for (const std::uint64_t limit : {std::uint64_t{8192}, std::uint64_t{4} << 20}) {
            SCOPED_TRACE(static_cast<int>(form));
            request_.bundle = form != Form::files;
            request_.block = form == Form::blocks;
            request_.bundle_limit = limit;
            request_.bundle_size = 1;  // no other file in the bundle of this one
            request_.type = repo::BackupType::full;
            data_.write("base/5/7", before);
            touch("base/5/7", std::chrono::hours(30));  // in the first bundle
            back_up(after);
            expect_valid();
            request_.type = repo::BackupType::incr;
            touch("base/5/7", std::chrono::hours(10));
            const auto next = run();
            ASSERT_OK(next);
            expect_valid();
            const repo::Manifest backup = manifest(next->entry.label);
            EXPECT_EQ(content_of(backup, *backup.find_file("pg_data/base/5/7")), after);
        }
}

INSTANTIATE_TEST_SUITE_P(
    Changes, ChangedDuringTheCopy,
    testing::Values(
        Change{"grows", [](const std::string& before) { return before + std::string(8192, 'x'); }},
        Change{"shrinks", [](const std::string& before) { return before.substr(0, 380 * 8192); }},
        Change{"is_cut_to_a_page",
               [](const std::string& before) { return before.substr(0, 8192); }},
        Change{"is_cut_to_nothing", [](const std::string&) { return std::string(); }},
        Change{
            "is_rewritten",
            [](const std::string& before) { return std::string(before.rbegin(), before.rend()); }}),
    [](const auto& tested) { return std::string(tested.param.name); });

// The server writes while the clock is waited for. What it does to new files must be in the copies,
// for nothing tells the next backup; old files are copied meanwhile.
TEST_F(RunBackup, CopiesAFileOfTheSecondOfTheListWhenThatIsOver) {
    const std::map<std::string, int> ages_s = {
        {"base/5/1", 0}, {"base/5/2", 2}, {"base/5/3", 3}, {"base/5/4", 4}};
    const auto stored_by_a_backup = [&] {
        clock_ms_ = clock_ms_ / 1000 * 1000 + 1290;  // 0.7 s for the old files
        const std::chrono::sys_seconds list(std::chrono::seconds(clock_ms_ / 1000));
        const auto write = [&, list](const std::string& name, const std::string& content, int age) {
            data_.write(name, content);
            std::filesystem::last_write_time(
                data_.path() + "/" + name,
                std::filesystem::file_time_type::clock::from_sys(list - std::chrono::seconds(age)));
        };
        std::filesystem::last_write_time(data_.path() + "/global/pg_control",
                                         std::filesystem::file_time_type::clock::from_sys(list));
        for (const auto& [name, age_s] : ages_s) write(name, "as listed", age_s);
        at_clock_ = [&, write, looks = 0]() mutable {
            if (++looks <= 2) clock_ms_ -= 1000;  // it stands still until the list is complete
            if (looks == 3)
                for (const auto& [name, age_s] : ages_s) write(name, "then more", age_s);
        };
        const auto full = run();
        EXPECT_OK(full);
        const repo::Manifest backup = manifest(full->entry.label);
        std::vector<std::string> contents;
        for (const auto& [name, age_s] : ages_s)
            contents.push_back(content_of(backup, *backup.find_file("pg_data/" + name)));
        return contents;
    };
    // The second ends whether the old files are copied or not: a machine that does not get to them
    // in time is given further ones. The new files have to wait on every machine.
    std::vector<std::string> stored;
    for (int attempt = 0; attempt < 20; ++attempt) {
        stored = stored_by_a_backup();
        ASSERT_EQ(stored[0], "then more");
        ASSERT_EQ(stored[1], "then more");
        if (stored[2] == "as listed" && stored[3] == "as listed") break;
    }
    EXPECT_EQ(stored[2], "as listed");
    EXPECT_EQ(stored[3], "as listed");
}

TEST_F(RunBackup, ADependentBackupRefersToWhatHasNotChanged) {
    const auto full = run();
    ASSERT_OK(full);
    data_.write("PG_VERSION", "15 \n");  // another size
    request_.type = repo::BackupType::incr;
    const auto incr = run();
    ASSERT_OK(incr);
    const repo::Manifest backup = manifest(incr->entry.label);
    EXPECT_EQ(backup.prior, full->entry.label);
    EXPECT_THAT(backup.references, ElementsAre(full->entry.label, incr->entry.label));
    EXPECT_EQ(backup.find_file("pg_data/base/5/1259")->reference, full->entry.label);
    EXPECT_EQ(backup.find_file("pg_data/PG_VERSION")->reference, "");
    expect_valid();
}

TEST_F(RunBackup, DeltaFindsContentThatChangedBehindTimeAndSize) {
    const auto full = run();
    ASSERT_OK(full);
    const auto time = std::filesystem::last_write_time(data_.path() + "/PG_VERSION");
    data_.write("PG_VERSION", "16\n");
    std::filesystem::last_write_time(data_.path() + "/PG_VERSION", time);
    request_.type = repo::BackupType::incr;
    const auto incr = run();
    ASSERT_OK(incr);
    EXPECT_EQ(manifest(incr->entry.label).find_file("pg_data/PG_VERSION")->reference,
              full->entry.label);
    request_.delta = true;
    const auto delta = run();
    ASSERT_OK(delta);
    EXPECT_EQ(manifest(delta->entry.label).find_file("pg_data/PG_VERSION")->reference, "");
    EXPECT_EQ(manifest(delta->entry.label).find_file("pg_data/base/5/1259")->reference,
              full->entry.label);
    expect_valid();
}

// On another timeline files may have been put back: their times prove nothing.
TEST_F(RunBackup, OnAnotherTimelineThanThePriorComparesContent) {
    const auto full = run();
    ASSERT_OK(full);
    repo::Manifest changed = manifest(full->entry.label);
    changed.archive_start = changed.archive_stop = "000000020000000000000001";
    ASSERT_OK(repo::save_manifest(request_.repository, "main", full->entry.label,
                                  repo::format_manifest(changed), info().cipher_pass));
    const auto time = std::filesystem::last_write_time(data_.path() + "/PG_VERSION");
    data_.write("PG_VERSION", "16\n");
    std::filesystem::last_write_time(data_.path() + "/PG_VERSION", time);
    request_.type = repo::BackupType::incr;
    const auto incr = run();
    ASSERT_OK(incr);
    const repo::Manifest backup = manifest(incr->entry.label);
    EXPECT_TRUE(backup.options.delta);
    EXPECT_EQ(backup.find_file("pg_data/PG_VERSION")->reference, "");
    EXPECT_EQ(backup.find_file("pg_data/base/5/1259")->reference, full->entry.label);
    expect_valid();
}

// A clock that was set back, in the server or where the files are.
TEST_F(RunBackup, AFileOlderThanInThePriorMakesItCompareContent) {
    data_.write("base/5/1", "one");
    const auto full = run();
    ASSERT_OK(full);
    data_.write("base/5/1", "two");
    touch("base/5/1", std::chrono::hours(48));
    const auto time = std::filesystem::last_write_time(data_.path() + "/PG_VERSION");
    data_.write("PG_VERSION", "16\n");
    std::filesystem::last_write_time(data_.path() + "/PG_VERSION", time);
    request_.type = repo::BackupType::incr;
    const auto incr = run();
    ASSERT_OK(incr);
    const repo::Manifest backup = manifest(incr->entry.label);
    EXPECT_EQ(content_of(backup, *backup.find_file("pg_data/base/5/1")), "two");
    EXPECT_EQ(backup.find_file("pg_data/PG_VERSION")->reference, "");
    expect_valid();
}

TEST_F(RunBackup, APriorThatLostItsManifestIsNotBuiltUpon) {
    const auto full = run();
    ASSERT_OK(full);
    request_.type = repo::BackupType::incr;
    const auto lost = run();
    ASSERT_OK(lost);
    for (const char* name : {"backup.manifest", "backup.manifest.copy"})
        ASSERT_OK(memory_.remove("backup/main/" + lost->entry.label + "/" + name));
    const auto next = run();
    ASSERT_OK(next);
    EXPECT_EQ(manifest(next->entry.label).prior, full->entry.label);
    expect_valid();
}

TEST_F(RunBackup, WithoutAFullBeforeItADependentBackupBecomesOne) {
    request_.type = repo::BackupType::diff;
    const auto result = run();
    ASSERT_OK(result);
    EXPECT_EQ(result->entry.type, repo::BackupType::full);
    EXPECT_TRUE(result->entry.label.ends_with("F"));
}

TEST_F(RunBackup, OfAnotherClusterIsRefusedBeforeAnythingIsWritten) {
    const auto control = pgdata::read_control_file(data_.path());
    ASSERT_OK(control);
    auto stranger = repo::ClusterIdentity::of(*control);
    stranger.system_id += 1;
    request_.stanza = "other";
    ASSERT_OK(repo::create_stanza(request_.repository, "other", stranger));
    const std::size_t changes = changes_of_backup().size();
    const auto result = run();
    ASSERT_FALSE(static_cast<bool>(result));
    EXPECT_EQ(result.error().kind(), ErrorKind::backup_mismatch);
    EXPECT_THAT(result.error().message(), HasSubstr("do not match stanza version 15"));
    EXPECT_EQ(changes_of_backup().size(), changes);
}

TEST_F(RunBackup, OfAServerInRecoveryOrWithoutArchivingIsRefused) {
    test::FakeFacts facts = facts_;
    facts.in_recovery = "true";
    server_says(facts);
    EXPECT_ERROR(ErrorKind::db_connect, run());
    facts = facts_;
    facts.archive_mode = "off";
    server_says(facts);
    EXPECT_ERROR(ErrorKind::archive_disabled, run());
    request_.archive_check = false;
    EXPECT_OK(run());
}

TEST_F(RunBackup, WaitsInVainForWalThatIsNotArchived) {
    server_.on("pg_backup_stop", {{"0/2000100", "label\n", ""}});
    const auto result = run();
    ASSERT_FALSE(static_cast<bool>(result));
    EXPECT_EQ(result.error().kind(), ErrorKind::archive_timeout);
    EXPECT_THAT(result.error().message(), HasSubstr("000000010000000000000002"));
    EXPECT_TRUE(info().backups.empty());
}

// Without the proof a server whose archiving is broken would be copied for hours first.
TEST_F(RunBackup, CopiesNothingBeforeArchivingIsProved) {
    server_.on("pg_current_wal_insert_lsn", {{"0/5000100"}});
    EXPECT_ERROR(ErrorKind::archive_timeout, run());
    EXPECT_TRUE(changes_of_backup().empty());
}

TEST_F(RunBackup, SwitchesTheSegmentIfTheStartDidNot) {
    server_.on("pg_current_wal_insert_lsn", {{"0/1000028"}});
    server_.on("pg_create_restore_point", {{"0/1000100"}});
    server_.on("pg_switch_wal", {{"0/1000118"}});
    ASSERT_OK(run());
    EXPECT_TRUE(server_.was_asked("pg_switch_wal"));
}

TEST_F(RunBackup, ASessionThatIsLostLeavesNoBackup) {
    server_.on_error("pg_backup_stop", Error(ErrorKind::db_connect, "gone"));
    EXPECT_ERROR(ErrorKind::db_connect, run());
    EXPECT_TRUE(info().backups.empty());
}

TEST_F(RunBackup, ARequestToStopIsObeyed) {
    at_clock_ = [this, looks = 0]() mutable {
        if (++looks == 3) cancel_.request();
    };
    EXPECT_ERROR(ErrorKind::cancelled, run());
    EXPECT_TRUE(info().backups.empty());
}

TEST_F(RunBackup, OnlyOneAtATime) {
    const auto other =
        repo::Lock::acquire({locks_.path(), "main", repo::LockType::backup, 1, "2-00000000"});
    ASSERT_OK(other);
    EXPECT_ERROR(ErrorKind::lock_acquire, run());
}

TEST_F(RunBackup, WhatIsNotThereAnyMoreAtTheEndIsNoBackup) {
    faults_->watch = [&](Operation operation, const std::string& name) {
        if (operation == Operation::sync_tree) (void)memory_.remove(name + "/pg_data/PG_VERSION");
    };
    const auto refused = run();
    EXPECT_ERROR(ErrorKind::repo_invalid, refused);
    EXPECT_THAT(refused.error().message(), HasSubstr("/pg_data/PG_VERSION' is missing"));
    EXPECT_TRUE(info().backups.empty());
    for (const auto& change : faults_->changes())
        EXPECT_FALSE(change.ends_with("/backup.manifest")) << change;
}

TEST_F(RunBackup, ADatabaseWhoseNameAManifestCannotHoldIsBackedUpWithoutIt) {
    server_.on("pg_database", {{"a\nb", "16385", "4"}, {"a=b [c]", "16386", "4"}});
    const auto done = run();
    ASSERT_OK(done);
    const repo::Manifest backup = manifest(done->entry.label);
    ASSERT_EQ(backup.databases.size(), 1u);
    EXPECT_EQ(backup.databases[0].name, "a=b [c]");
    expect_valid();
}

TEST_F(RunBackup, AnAnnotationThatCannotBeReadBackIsRefusedBeforeAnythingIsDone) {
    request_.annotations = {{"a\nb", "x"}};
    EXPECT_ERROR(ErrorKind::option_invalid_value, run());
    EXPECT_TRUE(faults_->changes().empty());
}

TEST_F(RunBackup, AStopFileForbidsIt) {
    std::ofstream(locks_ / "main.stop") << "";
    EXPECT_ERROR(ErrorKind::stop, run());
}

TEST_F(RunBackup, AClockThatStandsStillIsNoticed) {
    server_.on("clock_timestamp", {{std::to_string(clock_ms_ / 1000 * 1000 + 990)}});
    EXPECT_ERROR(ErrorKind::kernel, run());
}

TEST_F(RunBackup, ReportsEveryPhaseAndAllBytes) {
    std::vector<std::string> phases;
    Progress last;
    progress_ = [&](const Progress& progress) {
        if (phases.empty() || phases.back() != progress.phase) phases.push_back(progress.phase);
        if (progress.phase == "copy") last = progress;
    };
    ASSERT_OK(run());
    EXPECT_THAT(phases,
                ElementsAre("start", "wal", "list", "copy", "sync", "stop", "wal", "manifest"));
    EXPECT_EQ(last.files_done, last.files_total);
    EXPECT_EQ(last.bytes_done, last.bytes_total);
    EXPECT_GT(last.bytes_total, 3u * 8192);
}

TEST_F(RunBackup, OnADirectoryMakesAllPathsAndLinksTablespaces) {
    test::TemporaryDirectory root;
    test::TemporaryDirectory space;
    std::filesystem::create_directories(space / "PG_15_202209061/5");
    std::filesystem::create_directory_symlink(space.path(), data_.path() + "/pg_tblspc/16387");
    server_.on("pg_tablespace", {{"16387", "ts1"}});
    request_.repository.storage = storage::make_posix_storage(root.path());
    request_.archive_check = false;
    make_stanza(*request_.repository.storage);
    const auto result = run();
    ASSERT_OK(result);
    const std::string backup = root / ("backup/main/" + result->entry.label);
    EXPECT_TRUE(std::filesystem::is_directory(backup + "/pg_data/pg_wal"));
    EXPECT_TRUE(std::filesystem::is_directory(backup + "/pg_tblspc/16387/PG_15_202209061/5"));
    EXPECT_EQ(std::filesystem::read_symlink(backup + "/pg_data/pg_tblspc/16387"),
              "../../pg_tblspc/16387");
    EXPECT_EQ(std::filesystem::read_symlink(root / "backup/main/latest"), result->entry.label);
}

TEST_F(RunBackup, GoesToSeveralRepositoriesAtOnceAndOneThatFailsHarmsNoOther) {
    MemoryStorage other;
    auto faulty = std::make_shared<FaultStorage>(other);
    make_stanza(other);
    for (const char* segment : {kFirstSegment, kSecondSegment})
        ASSERT_OK(storage::write_object(other,
                                        "archive/main/15-1/0000000100000000/" +
                                            std::string(segment) + "-" + std::string(40, 'a'),
                                        "wal"));
    BackupRequest second = request_;
    second.repository.key = 2;
    second.repository.storage = faulty;
    second.bundle = true;
    second.compress_type = compress::CompressType::gz;
    request_.lock_keys = {1};
    second.lock_keys = {2};
    const std::vector<BackupRequest> both{request_, second};
    auto results = run_backups(both, &server_, progress_, cancel_);
    ASSERT_EQ(results.size(), 2u);
    ASSERT_OK(results[0]);
    ASSERT_OK(results[1]);
    EXPECT_EQ(results[0]->entry.label, results[1]->entry.label);
    expect_valid();

    faulty->add({.operation = Operation::create, .calls = Fault::kEver});
    results = run_backups(both, &server_, progress_, cancel_);
    EXPECT_OK(results[0]);
    EXPECT_FALSE(results[1]);
    EXPECT_EQ(info().backups.size(), 2u);
    expect_valid();
}

}  // namespace
}  // namespace chronos::ops::backup
