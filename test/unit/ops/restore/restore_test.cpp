#include "chronos/ops/restore/restore.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/storage/forwarding.h"
#include "chronos/storage/posix/posix_storage.h"
#include "fixtures_directory.h"
#include "ops/restore/other_clusters.h"
#include "ops/restore/target.h"
#include "result_matchers.h"

/// Restores from repositories that pgBackRest wrote (test/fixtures).
namespace chronos::ops::restore {
namespace {

namespace fs = std::filesystem;

std::string read_file(const fs::path& path) {
    std::ifstream stream(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(stream), {}};
}

void write_file(const fs::path& path, std::string_view content) {
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
}

class RestoreTest : public testing::Test {
protected:
    RestoreTest() {
        setenv("TZ", "UTC", 1);
        tzset();
        // In memory where there is such a place: every restore ends with a sync of the whole file
        // system, which on a shared disk is as slow as its neighbours are busy.
        const fs::path parent =
            access("/dev/shm", W_OK) == 0 ? "/dev/shm" : fs::temp_directory_path();
        std::string name = (parent / "chronos_restore_XXXXXX").string();
        if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
        root_ = name;
    }
    ~RestoreTest() override {
        set_log_receiver({});
        fs::remove_all(root_);
    }

    /// Unpacks a fixture and asks for it to be restored to `<root>/pg`.
    RestoreRequest request_for(const std::string& fixture, const std::string& member = "") {
        const std::string archive = std::string(CHRONOS_FIXTURES) + "/" + fixture + ".tar.zst";
        const std::string command =
            "tar --zstd -xf '" + archive + "' -C '" + root_.string() + "' " + member;
        if (std::system(command.c_str()) != 0) throw std::runtime_error(command);
        RestoreRequest request;
        const std::string name = member.empty() ? "repo" : member;
        repo::Repository repository;
        repository.storage = storage::make_posix_storage(root_ / name);
        repository.passphrase = passphrase(fixture + (member.empty() ? "" : "/" + member));
        if (!repository.passphrase.empty()) repository.cipher = crypto::CipherType::aes_256_cbc;
        request.repositories = {repository};
        request.stanza = "main";
        request.pg_path = root_ / "pg";
        request.process_max = 1;
        request.restore_command = "false";
        request.spool_path = root_ / "spool";
        request.lock_path = root_ / "lock";
        request.exec_id = "1-00000000";
        request.process_max = 2;
        return request;
    }

    static std::string passphrase(const std::string& fixture) {
        constexpr std::string_view kKey = "repo1-cipher-pass=";
        const std::string options = read_file(fs::path(CHRONOS_FIXTURES) / fixture / "options.txt");
        for (std::string_view line : split(options, '\n'))
            if (line.starts_with(kKey)) return std::string(line.substr(kKey.size()));
        return "";
    }

    Result<RestoreResult> restore(const RestoreRequest& request) {
        RestorePlan plan = CHRONOS_TRY(plan_restore(request));
        return run_restore(request, std::move(plan), cancel_, {});
    }

    fs::path pg() const { return root_ / "pg"; }

    /// Of the backup that would be restored, in a repository that is not encrypted.
    template <class Change>
    void change_manifest(const RestoreRequest& request, const Change& change) {
        const auto plan = plan_restore(request);
        ASSERT_OK(plan);
        const std::string& label = plan->manifest.label;
        auto manifest = repo::load_manifest(request.repositories.front(), "main", label, "");
        ASSERT_OK(manifest);
        change(*manifest);
        for (const char* name : {"backup.manifest", "backup.manifest.copy"})
            write_file(root_ / "repo/backup/main" / label / name, repo::format_manifest(*manifest));
    }

    fs::path root_;
    Cancellation cancel_;
};

/// Labels of a case of the fixture `crafted`, by step.
std::vector<std::string> crafted_labels(const std::string& name) {
    std::vector<std::string> labels(4);
    const std::string text = read_file(fs::path(CHRONOS_FIXTURES) / "crafted/labels.txt");
    for (std::string_view line : split(text, '\n')) {
        const auto words = split(line, ' ');
        if (words.size() == 3 && words[0] == name)
            labels.at(*parse_uint(words[1])) = std::string(words[2]);
    }
    return labels;
}

void expect_crafted_step(const fs::path& directory, std::size_t step) {
    const std::string text = read_file(fs::path(CHRONOS_FIXTURES) / "crafted" /
                                       ("expect-" + std::to_string(step) + ".sha1"));
    std::size_t compared = 0;
    for (std::string_view line : split(text, '\n')) {
        if (line.empty()) continue;
        const std::string name(line.substr(line.find_last_of(" /") + 1));
        EXPECT_EQ(crypto::sha1_hex(read_file(directory / name)), line.substr(0, 40)) << name;
        ++compared;
    }
    EXPECT_GT(compared, 10u);
}

const std::vector<std::string> kCraftedCases{
    "none-block",    "gz-block",      "lz4-block", "zst-block",   "bz2-block",
    "zst-block-aes", "lz4-block-aes", "none-pgbi", "gz-pgbi-aes", "gz-bundle-aes"};

TEST_F(RestoreTest, EveryCodecAndLayoutGivesTheRecordedFiles) {
    for (const std::string& name : kCraftedCases) {
        RestoreRequest request = request_for("crafted", name);
        const auto labels = crafted_labels(name);
        for (std::size_t step = 0; step < labels.size(); ++step) {
            SCOPED_TRACE(name + " step " + std::to_string(step));
            fs::remove_all(pg());
            request.set = labels[step];
            ASSERT_OK(restore(request));
            expect_crafted_step(pg() / "crafted", step);
            EXPECT_TRUE(fs::exists(pg() / "global/pg_control"));
            EXPECT_FALSE(fs::exists(pg() / "backup.manifest"));
        }
    }
}

// Every step to every other one, over what the former left: blocks that are right stay, files that
// are too long or too short or damaged are mended, what does not belong goes.
TEST_F(RestoreTest, DeltaMendsWhateverIsThere) {
    for (const std::string& name : kCraftedCases) {
        RestoreRequest request = request_for("crafted", name);
        const auto labels = crafted_labels(name);
        fs::remove_all(pg());
        request.set = labels[0];
        ASSERT_OK(restore(request));
        request.delta = true;
        for (std::size_t step : {3u, 1u, 2u, 0u}) {
            SCOPED_TRACE(name + " step " + std::to_string(step));
            write_file(pg() / "crafted/stray", "x");
            write_file(pg() / "stray/deeper/file", "x");
            write_file(pg() / "crafted/same", "damaged");
            std::fstream(pg() / "crafted/text1m", std::ios::in | std::ios::out).write("???", 3);
            request.set = labels[step];
            ASSERT_OK(restore(request));
            expect_crafted_step(pg() / "crafted", step);
            EXPECT_FALSE(fs::exists(pg() / "crafted/stray"));
            EXPECT_FALSE(fs::exists(pg() / "stray"));
        }
    }
}

TEST_F(RestoreTest, DeltaLeavesFilesThatAreRightAlone) {
    RestoreRequest request = request_for("zst-bundle-block");
    ASSERT_OK(restore(request));
    struct stat before {};
    const fs::path table = pg() / "base/5/16384";
    ASSERT_EQ(stat(table.c_str(), &before), 0);
    fs::resize_file(table, before.st_size + 8192);
    std::set<std::string> kept;
    set_log_receiver([&](LogLevel, std::string_view text) {
        if (text.starts_with("restore file - exists and matches backup "))
            kept.insert(std::string(text.substr(41, text.find(" (") - 41)));
    });
    request.delta = true;
    ASSERT_OK(restore(request));
    // Settings were rewritten and pg_control is never kept; everything else is.
    EXPECT_TRUE(kept.contains((pg() / "base/5/1259").string()));
    EXPECT_TRUE(kept.contains(table.string())) << "cut to its size it is right again";
    struct stat after {};
    ASSERT_EQ(stat(table.c_str(), &after), 0);
    EXPECT_EQ(after.st_ino, before.st_ino);
    EXPECT_EQ(after.st_size, before.st_size);
    EXPECT_EQ(after.st_mtime, before.st_mtime);
}

TEST_F(RestoreTest, OnlineBackupNeedsItsLabelToStart) {
    RestoreRequest request = request_for("zst-bundle-block");
    ASSERT_OK(restore(request));
    const std::string control = read_file(pg() / "global/pg_control");
    ASSERT_EQ(control.size(), 8192u);
    std::uint64_t checkpoint = 0;
    std::memcpy(&checkpoint, control.data() + 32, sizeof checkpoint);
    EXPECT_EQ(checkpoint, 0xDEADu);
    EXPECT_TRUE(fs::exists(pg() / "backup_label"));
    EXPECT_TRUE(fs::exists(pg() / "recovery.signal"));
    EXPECT_FALSE(fs::exists(pg() / "global/pg_control.pgbackrest.tmp"));
}

// The manifest is damaged or was made otherwise.
TEST_F(RestoreTest, WhatNoServerStartsOnIsRefused) {
    for (const std::string name : {"PG_VERSION", "global/pg_control", "backup_label"}) {
        SCOPED_TRACE(name);
        fs::remove_all(root_ / "repo");
        RestoreRequest request = request_for("zst-bundle-block");
        change_manifest(request, [&](repo::Manifest& manifest) {
            std::erase_if(manifest.files,
                          [&](const auto& file) { return file.name == "pg_data/" + name; });
        });
        const auto refused = restore(request);
        EXPECT_ERROR(ErrorKind::format, refused);
        EXPECT_THAT(refused.error().message(), testing::HasSubstr("'" + name + "'"));
        EXPECT_FALSE(fs::exists(pg() / "base"));
    }
}

TEST_F(RestoreTest, ABackupWithSignalsOfItsServersLifeStartsAsItIsTold) {
    RestoreRequest request = request_for("zst-bundle-block");
    change_manifest(request, [&](repo::Manifest& manifest) {
        const auto empty =
            std::ranges::find_if(manifest.files, [](const auto& file) { return file.size == 0; });
        ASSERT_NE(empty, manifest.files.end());
        for (const char* name : {"postmaster.pid", "recovery.conf", "standby.signal"}) {
            repo::ManifestFile file = *empty;
            file.name = SharedText("pg_data/" + std::string(name));
            manifest.files.push_back(file);
        }
        std::ranges::sort(manifest.files, {}, [](const auto& file) { return file.name.view(); });
    });
    ASSERT_OK(restore(request));
    EXPECT_TRUE(fs::exists(pg() / "recovery.signal"));
    for (const char* name : {"postmaster.pid", "recovery.conf", "standby.signal"})
        EXPECT_FALSE(fs::exists(pg() / name)) << name;
}

TEST_F(RestoreTest, DamageInTheRepositoryIsNamedAndLeavesNoCluster) {
    RestoreRequest request = request_for("crafted", "none-pgbi");
    request.set = crafted_labels("none-pgbi")[0];
    fs::path damaged;
    for (const auto& entry :
         fs::recursive_directory_iterator(root_ / "none-pgbi/backup/main" / request.set))
        if (entry.path().filename() == "text1m.pgbi") damaged = entry.path();
    ASSERT_FALSE(damaged.empty());
    std::fstream(damaged, std::ios::in | std::ios::out).write("???", 3);
    const auto result = restore(request);
    EXPECT_ERROR(ErrorKind::checksum, result);
    EXPECT_EQ(
        result.error().message().find("error restoring '" + (pg() / "crafted/text1m").string() +
                                      "': actual checksum '"),
        0u)
        << result.error().message();
    EXPECT_FALSE(fs::exists(pg() / "global/pg_control"));
    EXPECT_TRUE(fs::exists(pg() / "backup.manifest"));
}

TEST_F(RestoreTest, InterruptedRestoreIsFinishedWithDelta) {
    RestoreRequest request = request_for("crafted", "zst-block");
    request.set = crafted_labels("zst-block")[1];
    cancel_.request();
    EXPECT_ERROR(ErrorKind::cancelled, restore(request));
    EXPECT_FALSE(fs::exists(pg() / "global/pg_control"));
    write_file(pg() / "backup.manifest", "left by a restore that was killed");
    write_file(pg() / "crafted/t24k", "half");
    Cancellation fresh;
    request.delta = true;
    auto plan = plan_restore(request);
    ASSERT_OK(plan);
    ASSERT_OK(run_restore(request, std::move(*plan), fresh, {}));
    expect_crafted_step(pg() / "crafted", 1);
}

TEST_F(RestoreTest, RunningServerIsNeverTouched) {
    RestoreRequest request = request_for("crafted", "zst-block");
    write_file(pg() / "PG_VERSION", "15\n");
    write_file(pg() / "postmaster.pid", "1\n");
    write_file(pg() / "stray", "x");
    request.delta = request.force = true;
    EXPECT_ERROR(ErrorKind::pg_running, restore(request));
    EXPECT_TRUE(fs::exists(pg() / "stray"));
}

TEST_F(RestoreTest, ForeignDirectoryIsNotCleanedWhateverTheOptions) {
    RestoreRequest request = request_for("crafted", "zst-block");
    write_file(pg() / "thesis.odt", "x");
    fs::permissions(pg(), fs::perms::owner_all);
    EXPECT_ERROR(ErrorKind::path_not_empty, restore(request));
    request.delta = request.force = true;
    EXPECT_ERROR(ErrorKind::path_not_empty, restore(request));
    EXPECT_EQ(read_file(pg() / "thesis.odt"), "x");
}

TEST_F(RestoreTest, WhatIsThereIsMovedAsideOnRequest) {
    RestoreRequest request = request_for("lz4-aes-tblspc");
    request.tablespace_map["ts1"] = root_ / "ts";
    request.now = 1795187777;  // 2026-11-20 15:16:17 UTC
    write_file(pg() / "PG_VERSION", "15\n");
    write_file(pg() / "thesis.odt", "x");
    write_file(root_ / "ts/PG_15_202209061/1/2", "y");
    EXPECT_ERROR(ErrorKind::path_not_empty, restore(request));
    request.save_current = true;
    EXPECT_NE(format_restore_plan(plan_restore(request).value()).find("moved aside"),
              std::string::npos);
    ASSERT_OK(restore(request));
    EXPECT_TRUE(fs::exists(pg() / "global/pg_control"));
    EXPECT_FALSE(fs::exists(pg() / "thesis.odt"));
    EXPECT_EQ(read_file(root_ / "pg.saved-20261120-151617/thesis.odt"), "x");
    EXPECT_EQ(read_file(root_ / "ts/PG_15_202209061.saved-20261120-151617/1/2"), "y");
    // The second one of the same second finds the name taken, and moves nothing.
    EXPECT_ERROR(ErrorKind::file_move, restore(request));
    EXPECT_TRUE(fs::exists(pg() / "global/pg_control"));
    for (bool RestoreRequest::*other : {&RestoreRequest::delta, &RestoreRequest::force}) {
        RestoreRequest both = request;
        both.*other = true;
        EXPECT_ERROR(ErrorKind::option_invalid, plan_restore(both));
    }
}

TEST_F(RestoreTest, ALinkToTheDataDirectoryStaysALinkWhenItIsMovedAside) {
    RestoreRequest request = request_for("crafted", "zst-block");
    write_file(root_ / "disk/pg/thesis.odt", "x");
    fs::create_directory_symlink(root_ / "disk/pg", pg());
    request.save_current = true;
    request.now = 1795187777;
    ASSERT_OK(restore(request));
    EXPECT_TRUE(fs::is_symlink(pg()));
    EXPECT_TRUE(fs::exists(root_ / "disk/pg/global/pg_control"));
    EXPECT_EQ(read_file(root_ / "disk/pg.saved-20261120-151617/thesis.odt"), "x");
}

TEST_F(RestoreTest, WhatIsThereIsNotMovedForARestoreThatCannotBe) {
    RestoreRequest request = request_for("crafted", "zst-block");
    write_file(pg() / "thesis.odt", "x");
    write_file(pg() / "postmaster.pid", "1\n");
    request.save_current = true;
    EXPECT_ERROR(ErrorKind::pg_running, restore(request));
    EXPECT_EQ(read_file(pg() / "thesis.odt"), "x");
}

TEST_F(RestoreTest, PlanChangesNothing) {
    const RestoreRequest request = request_for("zst-bundle-block");
    const auto plan = plan_restore(request);
    ASSERT_OK(plan);
    EXPECT_TRUE(plan->problems.empty());
    EXPECT_FALSE(fs::exists(pg()));
    EXPECT_FALSE(fs::exists(root_ / "lock"));
    EXPECT_EQ(plan->manifest.label, "20261120-083824F_20261120-083828I");
    EXPECT_EQ(plan->wal.first, "000000010000000000000007");
    EXPECT_EQ(plan->wal.last, "000000010000000000000009");
    EXPECT_EQ(plan->wal.missing_count, 0u);
    const std::string text = format_restore_plan(*plan);
    EXPECT_NE(text.find("can be done\n"), std::string::npos) << text;
    EXPECT_EQ(plan->random_access.size_bytes(), plan->manifest.sizes().size);
    EXPECT_NE(text.find("    random access:    100% ("), std::string::npos) << text;
}

TEST_F(RestoreTest, NewestBackupBeforeTheTargetIsChosen) {
    RestoreRequest request = request_for("zst-bundle-block");
    request.type = RecoveryType::time;
    // The diff stopped at 08:38:27, the incr at 08:38:29: equal is not before.
    for (const auto& [target, label] :
         {std::pair("2026-11-20 08:38:31+00", "20261120-083824F_20261120-083828I"),
          std::pair("2026-11-20T08:38:28Z", "20261120-083824F_20261120-083826D"),
          std::pair("2026-11-20 08:38:27+00", "20261120-083824F")}) {
        request.target = target;
        const auto plan = plan_restore(request);
        ASSERT_OK(plan);
        EXPECT_EQ(plan->manifest.label, label) << target;
    }
    request.type = RecoveryType::lsn;
    request.target = "0/5000100";
    const auto plan = plan_restore(request);
    ASSERT_OK(plan);
    EXPECT_EQ(plan->manifest.label, "20261120-083824F_20261120-083826D");
}

TEST_F(RestoreTest, TargetBeforeEveryBackupSaysWhatCanBeRecovered) {
    RestoreRequest request = request_for("zst-bundle-block");
    request.type = RecoveryType::time;
    request.target = "2020-01-01 00:00:00+00";
    const auto plan = plan_restore(request);
    EXPECT_ERROR(ErrorKind::backup_set_invalid, plan);
    EXPECT_EQ(plan.error().message(),
              "unable to find backup set with stop time less than '2020-01-01 00:00:00+00'");
    EXPECT_NE(plan.error().hint().find("20261120-083824F"), std::string::npos);
    request.target = "soon";
    EXPECT_ERROR(ErrorKind::format, plan_restore(request));
    request.set = "20261120-083824F_20261120-083828I";
    request.target = "2026-11-20 08:38:27+00";
    EXPECT_ERROR(ErrorKind::backup_set_invalid, plan_restore(request));
    request.type.reset();
    request.target.clear();
    request.set = "20200101-000000F";
    EXPECT_ERROR(ErrorKind::backup_set_invalid, plan_restore(request));
}

// Times of backups have seconds: nothing else is known of the second in which one ended.
TEST_F(RestoreTest, TargetInTheSecondInWhichTheOldestBackupEndedCanBeHad) {
    RestoreRequest request = request_for("zst-bundle-block");
    const auto info = repo::load_backup_info(request.repositories.front(), "main");
    ASSERT_OK(info);
    const repo::BackupEntry& full = info->backups.front();
    request.type = RecoveryType::time;
    request.target = format_instant(full.timestamp_stop * 1000000 + 999999);
    const auto plan = plan_restore(request);
    ASSERT_OK(plan);
    EXPECT_EQ(plan->manifest.label, full.label);
    for (const RestoreProblem& problem : plan->problems)
        EXPECT_EQ(problem.error.message().find("before the end"), std::string::npos);
    request.target = format_instant(full.timestamp_stop * 1000000 - 1);
    EXPECT_ERROR(ErrorKind::backup_set_invalid, plan_restore(request));
}

TEST_F(RestoreTest, BackupThatBackupInfoDescribesOtherwiseIsRefused) {
    RestoreRequest request = request_for("zst-bundle-block");
    const repo::Repository& repository = request.repositories.front();
    const auto info = repo::load_backup_info(repository, "main");
    ASSERT_OK(info);
    using Change = std::function<void(repo::BackupInfo&)>;
    const std::vector<std::pair<std::string, Change>> changes = {
        {"backup-timestamp-stop", [](auto& wrong) { wrong.backups.back().timestamp_stop += 60; }},
        {"backup-lsn-stop", [](auto& wrong) { wrong.backups.back().lsn_stop = Lsn{1}; }},
        {"backup-archive-start",
         [](auto& wrong) { wrong.backups.back().archive_start = "000000010000000000000009"; }},
        {"system-id", [](auto& wrong) { ++wrong.history.front().system_id; }}};
    for (const auto& [what, change] : changes) {
        repo::BackupInfo wrong = *info;
        change(wrong);
        ASSERT_OK(repo::save_backup_info(repository, "main", wrong));
        const auto plan = plan_restore(request);
        EXPECT_ERROR(ErrorKind::format, plan);
        EXPECT_NE(plan.error().message().find(what), std::string::npos) << plan.error().text();
        EXPECT_NE(plan.error().hint().find("repair --force"), std::string::npos);
    }
    repo::BackupInfo sizes = *info;
    ++sizes.backups.back().size;
    ASSERT_OK(repo::save_backup_info(repository, "main", sizes));
    EXPECT_OK(plan_restore(request));  // nothing depends on it
}

// Manifest and backup.info agree on something that cannot be.
TEST_F(RestoreTest, EndOfABackupThatNoWalLeadsToIsSaidAtOnce) {
    RestoreRequest request = request_for("zst-bundle-block");
    const repo::Repository& repository = request.repositories.front();
    auto info = repo::load_backup_info(repository, "main");
    ASSERT_OK(info);
    const auto plan_with = [&](const std::string& stop) {
        change_manifest(request, [&](repo::Manifest& manifest) { manifest.archive_stop = stop; });
        info->backups.back().archive_stop = stop;
        EXPECT_OK(repo::save_backup_info(repository, "main", *info));
        return plan_restore(request);
    };
    const auto plan = plan_with("00000001FFFFFFFF000000FF");
    ASSERT_OK(plan);
    ASSERT_FALSE(plan->problems.empty());
    EXPECT_NE(plan->problems[0].error.message().find("is not in the archive"), std::string::npos);
    for (const char* text : {"x", "0000000100000000", "00000001000000000000000g"}) {
        repo::BackupInfo wrong = *info;
        wrong.backups.back().archive_stop = text;
        EXPECT_ERROR(ErrorKind::json_format,
                     repo::parse_backup_info(repo::format_backup_info(wrong)));
    }
}

TEST_F(RestoreTest, MissingWalIsNamed) {
    RestoreRequest request = request_for("zst-bundle-block");
    const auto remove_segment = [&](const std::string& segment) {
        for (const auto& entry :
             fs::directory_iterator(root_ / "repo/archive/main/15-1/0000000100000000"))
            if (entry.path().filename().string().starts_with(segment + "-"))
                fs::remove(entry.path());
    };
    remove_segment("000000010000000000000008");
    const auto gap = plan_restore(request);
    ASSERT_OK(gap);
    EXPECT_EQ(gap->wal.missing, std::vector<std::string>{"000000010000000000000008"});
    ASSERT_EQ(gap->problems.size(), 1u) << "later WAL is there: it is not the end";
    EXPECT_NE(gap->problems[0].error.message().find("cannot pass WAL"), std::string::npos);
    EXPECT_NE(gap->problems[0].error.hint().find("--type=immediate"), std::string::npos);
    constexpr std::uint32_t kHalf = 8u << 20;
    const auto stream = [&](std::uint32_t begin, std::uint32_t end) {
        repo::WalPiece piece;
        piece.segment = "000000010000000000000008";
        piece.begin = begin;
        piece.end = end;
        piece.checksum = std::string(40, '0');
        const fs::path file = root_ / "repo" / piece.object("main", "15-1");
        fs::create_directories(file.parent_path());
        std::ofstream(file) << "as if";
    };
    stream(0, kHalf);
    EXPECT_EQ(plan_restore(request)->problems.size(), 1u) << "half of it was streamed";
    stream(kHalf, 2 * kHalf);
    EXPECT_TRUE(plan_restore(request)->problems.empty()) << "all of it was streamed";
    fs::remove_all(root_ / "repo/chronos");
    RestoreRequest before = request;
    before.type = RecoveryType::immediate;
    const auto immediate = plan_restore(before);
    ASSERT_OK(immediate);
    EXPECT_TRUE(immediate->problems.empty());
    EXPECT_TRUE(immediate->no_reading_ahead);
    remove_segment("000000010000000000000007");
    const auto broken = plan_restore(request);
    ASSERT_OK(broken);
    ASSERT_EQ(broken->problems.size(), 1u);
    EXPECT_EQ(broken->problems[0].error.message(),
              "WAL that backup 20261120-083824F_20261120-083828I needs is not in the archive: "
              "000000010000000000000007");
    EXPECT_ERROR(ErrorKind::not_found, restore(request));
    EXPECT_FALSE(fs::exists(pg()));
}

TEST_F(RestoreTest, WalOfAClusterThatLeftAndCameBackIsFoundUnderAllItsIds) {
    RestoreRequest request = request_for("zst-bundle-block");
    request.target_timeline = "current";
    const repo::Repository& repository = request.repositories.front();
    auto info = repo::load_archive_info(repository, "main");
    ASSERT_OK(info);
    repo::HistoryEntry other = info->history.front();
    other.id = 2;
    other.system_id += 1;
    repo::HistoryEntry back = info->history.front();
    back.id = info->current_id = 3;
    info->history.insert(info->history.end(), {other, back});
    ASSERT_OK(repo::save_archive_info(repository, "main", *info));
    const auto before = plan_restore(request);
    ASSERT_OK(before);
    EXPECT_GT(before->wal.count, 0u);
    fs::rename(root_ / "repo/archive/main/15-1", root_ / "repo/archive/main/15-3");
    const auto after = plan_restore(request);
    ASSERT_OK(after);
    EXPECT_EQ(after->wal.count, before->wal.count);
    EXPECT_TRUE(after->problems.empty());
}

TEST_F(RestoreTest, ASegmentOfWhichNothingCanBeReadEndsTheWay) {
    RestoreRequest request = request_for("zst-bundle-block");
    request.only_plan = true;
    const fs::path archive = root_ / "repo/archive/main/15-1/0000000100000000";
    fs::path segment, other;
    for (const auto& entry : fs::directory_iterator(archive)) {
        if (entry.path().filename().string().starts_with("000000010000000000000008-"))
            segment = entry.path();
        if (entry.path().filename().string().starts_with("000000010000000000000007-"))
            other = entry.path();
    }
    const fs::path aside = root_ / "aside";
    fs::copy_file(segment, aside);
    const auto expect_barrier = [&](const std::string& flaw) {
        const auto plan = plan_restore(request);
        ASSERT_OK(plan);
        ASSERT_EQ(plan->problems.size(), 1u);
        EXPECT_THAT(plan->problems[0].error.message(),
                    testing::HasSubstr("000000010000000000000008 " + flaw));
        request.type = RecoveryType::lsn;
        request.target = "0/7000100";
        const auto before = plan_restore(request);
        ASSERT_OK(before);
        EXPECT_TRUE(before->problems.empty());
        request.type.reset();
        request.target.clear();
    };
    fs::resize_file(segment, 0);
    expect_barrier("is empty");
    fs::resize_file(segment, 0);
    fs::copy_file(other, segment, fs::copy_options::overwrite_existing);
    expect_barrier("cannot be used");
    fs::remove(segment);
    fs::create_directory(segment);
    auto plan = plan_restore(request);
    ASSERT_OK(plan);
    EXPECT_EQ(plan->wal.missing, std::vector<std::string>{"000000010000000000000008"});
    fs::remove(segment);
    fs::create_symlink(aside, segment);
    plan = plan_restore(request);
    ASSERT_OK(plan);
    EXPECT_TRUE(plan->problems.empty()) << "the file lies elsewhere";
}

TEST_F(RestoreTest, WithoutAnArchiveOfItsClusterABackupCannotBeRecovered) {
    RestoreRequest request = request_for("zst-bundle-block");
    const repo::Repository& repository = request.repositories.front();
    auto info = repo::load_archive_info(repository, "main");
    ASSERT_OK(info);
    const auto expect_refused = [&](const std::string& why) {
        const auto plan = plan_restore(request);
        ASSERT_OK(plan);
        EXPECT_THAT(plan->warnings, testing::Contains(testing::HasSubstr(why)));
        ASSERT_EQ(plan->problems.size(), 1u);
        EXPECT_EQ(plan->problems[0].error.kind(), ErrorKind::not_found);
        EXPECT_THAT(plan->problems[0].error.hint(), testing::HasSubstr("repair"));
    };
    info->history.front().system_id += 1;
    ASSERT_OK(repo::save_archive_info(repository, "main", *info));
    expect_refused("archive.info does not know the cluster");
    for (const char* name : {"archive.info", "archive.info.copy"})
        std::ofstream(root_ / "repo/archive/main" / name) << "garbage\n";
    expect_refused("cannot see the WAL archive");
    request.recovery_options["restore_command"] = "cp /elsewhere/%f %p";
    auto plan = plan_restore(request);
    ASSERT_OK(plan);
    EXPECT_TRUE(plan->problems.empty()) << "it has another source";
    request.recovery_options.clear();
    request.type = RecoveryType::none;
    plan = plan_restore(request);
    ASSERT_OK(plan);
    EXPECT_TRUE(plan->problems.empty()) << "there is no recovery";
}

TEST_F(RestoreTest, TablespaceGoesWhereItIsMapped) {
    RestoreRequest request = request_for("lz4-aes-tblspc");
    request.tablespace_map["ts1"] = root_ / "ts";
    ASSERT_OK(restore(request));
    EXPECT_EQ(fs::read_symlink(pg() / "pg_tblspc/16384"), root_ / "ts");
    EXPECT_FALSE(fs::is_empty(root_ / "ts/PG_15_202209061"));
    EXPECT_FALSE(fs::exists(pg() / "tablespace_map"));

    request.tablespace_map["nope"] = root_ / "ts";
    EXPECT_ERROR(ErrorKind::tablespace_map, plan_restore(request));
    request.tablespace_map = {{"ts1", root_ / "a"}, {"16384", root_ / "b"}};
    EXPECT_ERROR(ErrorKind::tablespace_map, plan_restore(request));
    request.tablespace_map = {{"ts1", pg() / "inside"}};
    EXPECT_ERROR(ErrorKind::link_destination, plan_restore(request));
}

TEST_F(RestoreTest, TimelinesOfTheFixtureAreFollowedOrRefused) {
    RestoreRequest request = request_for("lz4-aes-tblspc");
    request.tablespace_map_all = root_ / "ts";
    request.set = "20261120-083948F_20261120-083952I";
    const auto newest = plan_restore(request);
    ASSERT_OK(newest);
    EXPECT_EQ(newest->backup_timeline, 1u);
    EXPECT_EQ(newest->target_timeline, 2u);
    EXPECT_EQ(newest->wal.last, "000000020000000000000014");
    EXPECT_EQ(newest->wal.missing_count, 0u);
    EXPECT_FALSE(newest->warnings.empty());
    request.target_timeline = "current";
    const auto current = plan_restore(request);
    ASSERT_OK(current);
    EXPECT_EQ(current->wal.last, "000000010000000000000012");
    request.set = "20261120-083948F_20261120-083957I";
    request.target_timeline = "0x1";
    EXPECT_ERROR(ErrorKind::not_found, plan_restore(request));
    request.target_timeline = "elephant";
    EXPECT_ERROR(ErrorKind::db_mismatch, plan_restore(request));
}

std::uint64_t inode_of(const fs::path& path) {
    struct stat status {};
    return stat(path.c_str(), &status) == 0 ? status.st_ino : 0;
}

// A copy made of hard links is somebody's last one. What the backup changes is made anew.
TEST_F(RestoreTest, FilesWithOtherNamesAreLeftToThem) {
    RestoreRequest request = request_for("zst-bundle-block");
    ASSERT_OK(restore(request));
    std::map<std::string, std::string> content;
    const fs::path copy = root_ / "copy";
    std::size_t number = 0;
    for (const auto& entry : fs::recursive_directory_iterator(pg())) {
        if (!entry.is_regular_file()) continue;
        const fs::path path = entry.path();
        if (++number % 3 == 0) fs::resize_file(path, entry.file_size() + 8192);
        if (number % 3 == 1) write_file(path, "changed");
        const fs::path name = copy / path.lexically_relative(pg());
        fs::create_directories(name.parent_path());
        fs::create_hard_link(path, name);
        content[name.string()] = read_file(name);
    }
    ASSERT_GT(number, 100u);
    const std::uint64_t before = inode_of(pg() / "base/5/1259");
    for (const bool force : {false, true}) {
        request.delta = true;
        request.force = force;
        write_file(pg() / "backup.manifest", "left by a restore that was killed");
        ASSERT_OK(restore(request));
        for (const auto& [name, text] : content) EXPECT_EQ(read_file(name), text) << name;
    }
    EXPECT_NE(inode_of(pg() / "base/5/1259"), 0u);
    EXPECT_NE(before, 0u);
    EXPECT_EQ(read_file(pg() / "PG_VERSION"), "15\n");
}

TEST_F(RestoreTest, LinksThatTheBackupDoesNotHaveAreNotWrittenThrough) {
    RestoreRequest request = request_for("crafted", "zst-block");
    write_file(root_ / "precious", "x");
    fs::create_directories(pg());
    fs::create_symlink(root_ / "precious", pg() / "backup.manifest");
    fs::create_symlink(root_ / "precious", pg() / "postgresql.auto.conf");
    fs::create_symlink(root_ / "precious", pg() / "PG_VERSION");
    request.delta = true;
    ASSERT_OK(restore(request));
    EXPECT_EQ(read_file(root_ / "precious"), "x");
    EXPECT_FALSE(fs::is_symlink(pg() / "postgresql.auto.conf"));
}

TEST_F(RestoreTest, LostAndFoundIsNoContent) {
    RestoreRequest request = request_for("crafted", "zst-block");
    write_file(pg() / "lost+found/#1", "x");
    ASSERT_OK(restore(request));
    EXPECT_EQ(read_file(pg() / "lost+found/#1"), "x");
    request.delta = true;
    ASSERT_OK(restore(request));
    EXPECT_EQ(read_file(pg() / "lost+found/#1"), "x");
    fs::remove_all(pg());
    write_file(pg() / "lost+found/#1", "x");
    request.delta = false;
    request.save_current = true;
    ASSERT_OK(restore(request));
    EXPECT_EQ(read_file(pg() / "lost+found/#1"), "x");
}

// A wrong path or stanza is a matter of one letter.
TEST_F(RestoreTest, AnotherClustersDirectoryIsNotTakenForAnOlderState) {
    RestoreRequest request = request_for("zst-bundle-block");
    ASSERT_OK(restore(request));
    RestoreRequest other = request_for("crafted", "zst-block");
    const std::string label = read_file(pg() / "backup_label");
    other.delta = true;
    const auto refused = restore(other);
    EXPECT_ERROR(ErrorKind::db_mismatch, refused);
    const auto theirs = plan_restore(request);
    const auto ours = plan_restore(other);
    ASSERT_OK(theirs);
    ASSERT_OK(ours);
    EXPECT_NE(refused.error().text().find(std::to_string(theirs->manifest.system_id)),
              std::string::npos);
    EXPECT_NE(refused.error().text().find(std::to_string(ours->manifest.system_id)),
              std::string::npos);
    EXPECT_NE(format_restore_plan(*ours).find("cannot be done"), std::string::npos);
    EXPECT_EQ(read_file(pg() / "backup_label"), label);
    other.force = true;
    ASSERT_OK(restore(other));
    EXPECT_NE(read_file(pg() / "backup_label"), label);
}

// What pg_upgrade leaves has no control file under its name.
TEST_F(RestoreTest, ADirectoryOfAnotherVersionIsNotTakenForAnOlderState) {
    RestoreRequest request = request_for("zst-bundle-block");
    write_file(pg() / "PG_VERSION", "14\n");
    write_file(pg() / "global/pg_control.old", "x");
    request.delta = true;
    const auto refused = restore(request);
    EXPECT_ERROR(ErrorKind::db_mismatch, refused);
    EXPECT_NE(refused.error().text().find("PostgreSQL 14"), std::string::npos);
    EXPECT_TRUE(fs::exists(pg() / "global/pg_control.old"));
    request.force = true;
    ASSERT_OK(restore(request));
    EXPECT_EQ(read_file(pg() / "PG_VERSION"), "15\n");
}

// --delta is about the cluster in the data directory; its tablespaces and links are those that it
// leads to. What lies elsewhere may be of the next cluster.
TEST_F(RestoreTest, OthersTablespacesAndLinksAreNotCleaned) {
    RestoreRequest request = request_for("lz4-aes-tblspc");
    request.tablespace_map["ts1"] = root_ / "ts";
    ASSERT_OK(restore(request));
    request.delta = true;
    ASSERT_OK(restore(request));  // its own
    const fs::path others = root_ / "others/PG_15_202209061/1/2";
    write_file(others, "y");
    request.tablespace_map["ts1"] = root_ / "others";
    EXPECT_ERROR(ErrorKind::path_not_empty, restore(request));
    EXPECT_TRUE(fs::exists(pg() / "global/pg_control"));
    EXPECT_EQ(read_file(others), "y");
    request.tablespace_map["ts1"] = root_ / "ts";
    write_file(root_ / "wal/000000010000000000000001", "z");
    request.link_map = {{"pg_wal", (root_ / "wal").string()}};
    EXPECT_ERROR(ErrorKind::path_not_empty, restore(request));
    write_file(root_ / "etc/pg_hba.conf", "z");
    request.link_map = {{"pg_hba.conf", (root_ / "etc/pg_hba.conf").string()}};
    EXPECT_ERROR(ErrorKind::file_exists, restore(request));
    request.force = true;
    ASSERT_OK(restore(request));
    EXPECT_NE(read_file(root_ / "etc/pg_hba.conf"), "z");
    EXPECT_EQ(read_file(root_ / "wal/000000010000000000000001"), "z");
}

// Restored beside the original, whose tablespaces the backup names.
TEST_F(RestoreTest, TheOriginalKeepsItsTablespacesWhateverTheOptions) {
    RestoreRequest request = request_for("lz4-aes-tblspc");
    request.tablespace_map["ts1"] = root_ / "ts";
    ASSERT_OK(restore(request));
    RestorePlan beside = *plan_restore(request);
    beside.original_pg_path = pg();
    for (const std::string option : {"none", "delta", "force", "save-current"}) {
        SCOPED_TRACE(option);
        RestorePlan copy = beside;
        copy.problems.clear();
        copy.delta = option == "delta";
        copy.force = option == "force";
        copy.save_current = option == "save-current";
        RestoreRequest elsewhere = request;
        elsewhere.pg_path = root_ / "beside";
        guard_other_clusters(elsewhere, copy);
        ASSERT_EQ(copy.problems.size(), 1u);
        EXPECT_TRUE(copy.problems.front().certain);
        EXPECT_NE(copy.problems.front().error.text().find("--tablespace-map"), std::string::npos);
    }
}

// Between the plan and the first change there may be minutes, and a service that starts servers.
TEST_F(RestoreTest, AServerThatWasStartedMeanwhileKeepsEverything) {
    for (const bool save : {false, true}) {
        fs::remove_all(pg());
        RestoreRequest request = request_for("crafted", "zst-block");
        ASSERT_OK(restore(request));
        (save ? request.save_current : request.delta) = true;
        write_file(pg() / "stray", "x");
        RestorePlan plan = *plan_restore(request);
        const std::string control = read_file(pg() / "global/pg_control");
        write_file(pg() / "postmaster.pid", "1\n");
        EXPECT_ERROR(ErrorKind::pg_running, run_restore(request, std::move(plan), cancel_, {}));
        EXPECT_EQ(read_file(pg() / "stray"), "x");
        EXPECT_EQ(read_file(pg() / "global/pg_control"), control);
        EXPECT_FALSE(fs::exists(pg() / "global/pg_control.chronos.aside"));
    }
}

TEST_F(RestoreTest, AServerThatIsBeingStartedGetsNoControlFile) {
    RestoreRequest request = request_for("crafted", "zst-block");
    RestorePlan plan = *plan_restore(request);
    EXPECT_ERROR(ErrorKind::pg_running,
                 run_restore(request, std::move(plan), cancel_, [&](const Progress& progress) {
                     if (progress.phase == "sync") write_file(pg() / "postmaster.pid", "1\n");
                 }));
    EXPECT_FALSE(fs::exists(pg() / "global/pg_control"));
}

TEST_F(RestoreTest, TargetsInTheClustersOwnFilesAreNamedAndOverruled) {
    RestoreRequest request = request_for("zst-bundle-block");
    ASSERT_OK(restore(request));
    const std::string text = read_file(pg() / "postgresql.auto.conf");
    EXPECT_NE(text.find("recovery_target_xid = ''  # set aside by chronos restore\n"),
              std::string::npos)
        << text;
}

TEST_F(RestoreTest, ATargetBehindAllWalCannotBeDone) {
    RestoreRequest request = request_for("zst-bundle-block");
    request.type = RecoveryType::time;
    for (const char* target : {"2090-01-01 00:00:00+00", "2026-11-29 00:00:00+00"}) {
        request.target = target;
        const auto plan = plan_restore(request);
        ASSERT_OK(plan);
        EXPECT_NE(format_restore_plan(*plan).find("cannot be done"), std::string::npos) << target;
        EXPECT_ERROR(ErrorKind::backup_set_invalid, restore(request));
        EXPECT_FALSE(fs::exists(pg()));
    }
    request.type = RecoveryType::lsn;
    request.target = "7F/0";
    EXPECT_ERROR(ErrorKind::backup_set_invalid, restore(request));
    EXPECT_FALSE(fs::exists(pg()));
}

TEST_F(RestoreTest, LinksAreMadeWhereTheyAreMapped) {
    RestoreRequest request = request_for("zst-bundle-block");
    request.link_map = {{"pg_hba.conf", (root_ / "etc/pg_hba.conf").string()},
                        {"pg_stat", "../stat"}};
    ASSERT_OK(restore(request));
    EXPECT_EQ(fs::read_symlink(pg() / "pg_hba.conf"), root_ / "etc/pg_hba.conf");
    EXPECT_GT(fs::file_size(root_ / "etc/pg_hba.conf"), 0u);
    EXPECT_EQ(fs::read_symlink(pg() / "pg_stat"), "../stat");
    EXPECT_TRUE(fs::is_directory(root_ / "stat"));
    request.link_map = {{"nope", "/nowhere"}};
    EXPECT_ERROR(ErrorKind::link_map, plan_restore(request));
    request.link_map = {{"pg_stat", root_.string()}};  // PGDATA lies in it
    EXPECT_ERROR(ErrorKind::link_destination, plan_restore(request));
    request.link_map = {{"pg_hba.conf", "relative"}};
    EXPECT_ERROR(ErrorKind::link_map, plan_restore(request));
}

TEST_F(RestoreTest, ExcludedDatabaseIsAllHoles) {
    RestoreRequest request = request_for("zst-bundle-block");
    const auto full = plan_restore(request);
    ASSERT_OK(full);
    request.db_exclude = {"template1"};
    ASSERT_OK(restore(request));
    const repo::ManifestFile* file = full->manifest.find_file("pg_data/base/1/1259");
    ASSERT_NE(file, nullptr);
    struct stat status {};
    ASSERT_EQ(stat((pg() / "base/1/1259").c_str(), &status), 0);
    EXPECT_EQ(static_cast<std::uint64_t>(status.st_size), file->size);
    EXPECT_EQ(status.st_blocks, 0);
    EXPECT_EQ(read_file(pg() / "base/1/PG_VERSION"), "15\n");
    request.db_exclude.clear();
    request.db_include = {"postgres"};
    EXPECT_ERROR(ErrorKind::db_invalid, plan_restore(request));
    request.db_include = {"nope"};
    EXPECT_ERROR(ErrorKind::db_missing, plan_restore(request));
}

/// The stored files of a repository on disk.
std::vector<fs::path> stored_files(const fs::path& repository) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(repository / "backup/main"))
        if (entry.is_regular_file() &&
            (entry.path().string().find("/pg_data/") != std::string::npos ||
             entry.path().string().find("/bundle/") != std::string::npos))
            files.push_back(entry.path());
    return files;
}

TEST_F(RestoreTest, WhatOneRepositoryLacksOrHasDamagedIsTakenFromAnother) {
    RestoreRequest request = request_for("zst-bundle-block");
    const fs::path second = root_ / "second";
    fs::copy(root_ / "repo", second, fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    ASSERT_OK(restore(request));
    std::map<std::string, std::string> expected;
    for (const auto& entry : fs::recursive_directory_iterator(pg()))
        if (entry.is_regular_file()) expected[entry.path().string()] = read_file(entry.path());
    fs::remove_all(pg());

    std::size_t number = 0;
    for (const fs::path& file : stored_files(root_ / "repo"))
        if (++number % 2 == 0)
            fs::remove(file);
        else if (number % 3 == 0)
            write_file(file, "damaged");
    EXPECT_FALSE(restore(request)) << "the damage does not show";
    fs::remove_all(pg());
    repo::Repository other = request.repositories.front();
    other.key = 2;
    other.storage = storage::make_posix_storage(second);
    request.repositories.push_back(other);
    ASSERT_OK(restore(request));
    expected.erase((pg() / "postgresql.auto.conf").string());  // says when it was written
    for (const auto& [name, content] : expected) EXPECT_EQ(read_file(name), content) << name;
}

TEST_F(RestoreTest, BackupOfAnotherTimeDoesNotStandIn) {
    RestoreRequest request = request_for("zst-bundle-block");
    for (const fs::path& file : stored_files(root_ / "repo")) fs::remove(file);
    RestoreRequest elsewhere = request_for("crafted", "none-pgbi");
    repo::Repository other = elsewhere.repositories.front();
    other.key = 2;
    request.repositories.push_back(other);
    const auto restored = restore(request);
    EXPECT_ERROR(ErrorKind::not_found, restored);
}

/// Counts what is opened: over a distant link that is the cost of a restore.
class CountingStorage final : public storage::ReadOnlyStorage {
public:
    using ReadOnlyStorage::ReadOnlyStorage;
    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        ++opened;
        return next_.open(name, range);
    }
    std::atomic<std::size_t> opened = 0;
};

TEST_F(RestoreTest, FilesInBlocksThatShareABundleShareARequest) {
    RestoreRequest request = request_for("crafted", "zst-block");
    auto counting = std::make_shared<CountingStorage>(request.repositories.front().storage);
    request.repositories.front().storage = counting;
    RestorePlan plan = *plan_restore(request);
    const auto in_blocks = std::ranges::count_if(plan.manifest.files, [](const auto& file) {
        return file.bundled() && file.block_incremental() && file.size > 0;
    });
    ASSERT_GT(in_blocks, 1);
    counting->opened = 0;
    ASSERT_OK(run_restore(request, std::move(plan), cancel_, {}));
    EXPECT_LT(counting->opened, 2u * static_cast<std::size_t>(in_blocks));
}

}  // namespace
}  // namespace chronos::ops::restore
