// What a run may leave unread, and that nothing is lost when it reads too little or is stopped.
#include <chrono>
#include <functional>

#include "chronos/repo/info.h"
#include "chronos/repo/side/verify_result.h"
#include "chronos/storage/forwarding.h"
#include "fault_storage.h"
#include "memory_storage.h"
#include "verify_fixture.h"

namespace chronos::ops::verify {
namespace {

namespace fs = std::filesystem;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class VerifyAgain : public testing::Test {
protected:
    VerifyRequest request(bool full = false) const {
        VerifyRequest request = request_for(fixture_.repository());
        request.full = full;
        return request;
    }
    static VerifiedRepository one(const VerifyRequest& request) {
        return verify(request).repositories.at(0);
    }
    std::string backup(const std::string& label) const {
        return fixture_.path() + "/backup/main/" + label;
    }
    /// Content changes, size and time do not: what a disk does to a file.
    static void rot(const std::string& path, std::size_t at) {
        const auto time = fs::last_write_time(path);
        change_byte(path, at);
        fs::last_write_time(path, time);
    }
    const test::Fixture fixture_{"zst-bundle-block"};
};

TEST_F(VerifyAgain, ReadsNothingThatIsUnchanged) {
    const VerifiedRepository first = one(request());
    EXPECT_EQ(first.objects_known, 0u);
    EXPECT_EQ(first.objects_read, 15u);  // four bundles, three labels, eight segments
    const VerifiedRepository second = one(request());
    EXPECT_EQ(second.objects_read, 0u);
    EXPECT_EQ(second.objects_known, first.objects_read);
    EXPECT_EQ(second.backups.at(0).files.valid, first.backups.at(0).files.valid);
    EXPECT_LT(second.bytes_read, first.bytes_read / 4);  // info files and manifests
}

TEST_F(VerifyAgain, ReadsWhatWasWrittenAgain) {
    one(request());
    const std::string bundle = backup(kDiff) + "/bundle/1";
    fs::last_write_time(bundle, fs::last_write_time(bundle) + std::chrono::seconds(2));
    EXPECT_EQ(one(request()).objects_read, 1u);
}

TEST_F(VerifyAgain, FindsWhatRottedWhenAskedForEverything) {
    one(request());
    rot(backup(kDiff) + "/bundle/1", 100);
    EXPECT_THAT(texts_of(verify(request())), IsEmpty());
    EXPECT_GE(verify(request(/*full=*/true)).failures(), 1u);
    // And does not forget it.
    EXPECT_GE(verify(request()).failures(), 1u);
}

TEST_F(VerifyAgain, DamageIsFoundAgain) {
    const std::string bundle = backup(kIncr) + "/bundle/1";
    change_byte(bundle, 100);
    const auto first = texts_of(verify(request()));
    EXPECT_THAT(first, testing::Not(IsEmpty()));
    EXPECT_EQ(texts_of(verify(request())), first);
}

// The incr was found good and did not change; what it rests on did.
TEST_F(VerifyAgain, DamageOfABaseReachesWhatWasFoundGood) {
    one(request());
    const std::string bundle = backup(kFull) + "/bundle/1";
    change_byte(bundle, fs::file_size(bundle) / 2);
    const VerifyResult result = verify(request());
    EXPECT_THAT(texts_of(result), Contains(HasSubstr(kIncr + " cannot be restored")));
    EXPECT_EQ(result.repositories.at(0).backups.at(2).verdict, BackupVerdict::invalid);
}

TEST_F(VerifyAgain, LosingTheLedgerCostsTimeOnly) {
    const VerifiedRepository first = one(request());
    fs::remove_all(fixture_.path() + "/chronos");
    EXPECT_EQ(one(request()).objects_read, first.objects_read);
    for (const auto& entry :
         fs::recursive_directory_iterator(fixture_.path() + "/chronos/main/verify"))
        if (entry.is_regular_file()) test::write_file(entry.path().string(), "garbage\n\n1");
    EXPECT_EQ(one(request()).objects_read, first.objects_read);
    EXPECT_EQ(one(request()).objects_read, 0u);
}

// A manifest that changed may say something else about the same objects.
TEST_F(VerifyAgain, AnotherManifestMakesTheLedgerWorthless) {
    one(request());
    const auto repository = fixture_.repository();
    auto manifest = repo::load_manifest(repository, "main", kFull, "");
    ASSERT_OK(manifest);
    manifest->find_file("pg_data/PG_VERSION")->checksum = std::string(40, 'b');
    ASSERT_OK(repo::save_manifest(repository, "main", kFull, repo::format_manifest(*manifest), ""));
    EXPECT_THAT(texts_of(verify(request())), Contains(HasSubstr(kFull + ": pg_data/PG_VERSION")));
}

TEST_F(VerifyAgain, GoesOnWhereItWasStopped) {
    VerifyRequest stopped = request();
    stopped.save_interval = std::chrono::milliseconds(0);
    stopped.process_max = 1;
    Cancellation cancel;
    const auto progress = [&](const Progress& now) {
        if (now.phase.starts_with("archive")) cancel.request();
    };
    EXPECT_ERROR(ErrorKind::cancelled, run_verify(stopped, progress, cancel));
    const VerifiedRepository rest = one(request());
    EXPECT_EQ(rest.objects_known, 7u);
    EXPECT_EQ(rest.objects_read, 8u);
}

TEST_F(VerifyAgain, ASetLeavesTheRestOfTheLedgerAlone) {
    one(request());
    verify(request_for(fixture_.repository(), {kFull}));
    EXPECT_EQ(one(request()).objects_read, 0u);
}

TEST_F(VerifyAgain, KeepsToTheRate) {
    VerifyRequest slow = request();
    slow.bytes_per_second_max = std::uint64_t{8} << 20;
    const auto begin = std::chrono::steady_clock::now();
    const VerifiedRepository result = one(slow);
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
    EXPECT_GE(took.count(), 0.9 * static_cast<double>(result.bytes_read) / (8 << 20));
}

TEST_F(VerifyAgain, KeepsTheLastResultOfTheWhole) {
    one(request());
    const auto repository = fixture_.repository();
    const auto good = repo::load_verify_summary(repository, "main", "");
    ASSERT_OK(good);
    ASSERT_TRUE(good->has_value());
    EXPECT_EQ((*good)->failures, 0u);
    EXPECT_EQ((*good)->backups, 3u);
    EXPECT_EQ((*good)->wal_segments, 8u);
    verify(request_for(fixture_.repository(), {"20250101-000000F"}));
    EXPECT_EQ(repo::load_verify_summary(repository, "main", "").value(), *good);
    fs::remove(backup(kDiff) + "/bundle/1");
    one(request());
    const auto bad = repo::load_verify_summary(repository, "main", "").value();
    EXPECT_GE(bad->failures, 1u);
    EXPECT_THAT(bad->first_failure, HasSubstr("bundle/1: is missing"));
}

TEST(VerifyEncrypted, LedgerTellsNobodyWithoutThePassphrase) {
    const test::Fixture fixture("crafted");
    const auto repository = fixture.repository("pass-zst-block-aes", "zst-block-aes");
    EXPECT_EQ(verify(request_for(repository)).failures(), 0u);
    EXPECT_EQ(verify(request_for(repository)).repositories.at(0).objects_read, 0u);
    for (const auto& entry :
         fs::recursive_directory_iterator(fixture.path("zst-block-aes") + "/chronos/main/verify"))
        if (entry.is_regular_file()) {
            EXPECT_TRUE(test::read_file(entry.path().string()).starts_with("Salted__"))
                << entry.path();
        }
}

/// A fixture in a flat storage, as a bucket is one.
class VerifyFlat : public testing::Test {
protected:
    VerifyFlat() {
        const auto from = fixture_.repository().storage;
        const auto entries = from->list_tree("");
        if (!entries) throw std::runtime_error(entries.error().text());
        for (const storage::Entry& entry : *entries)
            storage::write_object(*memory_, entry.name,
                                  storage::read_object(*from, entry.name).value())
                .value();
    }
    VerifyResult run(std::shared_ptr<storage::Storage> storage) const {
        repo::Repository repository = fixture_.repository();
        repository.storage = std::move(storage);
        return verify(request_for(repository));
    }
    const test::Fixture fixture_{"zst-bundle-block"};
    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
};

TEST_F(VerifyFlat, IsVerifiedWithoutDirectories) {
    EXPECT_THAT(texts_of(run(memory_)), IsEmpty());
}

TEST_F(VerifyFlat, StoppedAnswersAreNoDamageOfFiles) {
    const auto faulty = std::make_shared<test::FaultStorage>(*memory_);
    faulty->add({test::Operation::open, "*bundle/1", 1, test::Fault::kEver});
    const VerifyResult result = run(faulty);
    EXPECT_EQ(result.failures(), 1u) << testing::PrintToString(texts_of(result));
    EXPECT_THAT(result.findings.at(0).consequence, HasSubstr("not verified to its end"));
    // Nor is it a result.
    EXPECT_FALSE(
        repo::load_verify_summary({1, memory_, {}, "", ""}, "main", "").value().has_value());
}

// The result of a run before it is nothing to rest on.
TEST_F(VerifyFlat, ThatCouldNotComeToItsEndIsWrittenDownUntilOneDoes) {
    const repo::Repository repository{1, memory_, {}, "", ""};
    const auto unfinished = [&] {
        return repo::load_unfinished_verify(repository, "main", "").value();
    };
    run(memory_);
    EXPECT_FALSE(unfinished());
    const auto faulty = std::make_shared<test::FaultStorage>(*memory_);
    faulty->add({test::Operation::list_tree, "backup/main*", 1, test::Fault::kEver,
                 Error(ErrorKind::path_open, "unable to list it")});
    EXPECT_EQ(run(faulty).failures(), 1u);
    ASSERT_TRUE(unfinished());
    EXPECT_EQ(unfinished()->reason, "unable to list it");
    EXPECT_EQ(unfinished()->failures, 0u) << "that it came to no end is no damage";

    repo::Repository same = fixture_.repository();
    same.storage = memory_;
    verify(request_for(same, {"latest"}));
    EXPECT_TRUE(unfinished()) << "a part is not the whole";
    run(memory_);
    EXPECT_FALSE(unfinished());
}

TEST_F(VerifyFlat, ThatWasStoppedOrIsOfAPartIsNotUnfinished) {
    repo::Repository repository = fixture_.repository();
    repository.storage = memory_;
    Cancellation cancel;
    cancel.request();
    EXPECT_ERROR(ErrorKind::cancelled, run_verify(request_for(repository), {}, cancel));
    const auto faulty = std::make_shared<test::FaultStorage>(*memory_);
    faulty->add({test::Operation::open, "*bundle/1", 1, test::Fault::kEver});
    repo::Repository broken = repository;
    broken.storage = faulty;
    EXPECT_EQ(verify(request_for(broken, {"latest"})).failures(), 1u);
    EXPECT_FALSE(repo::load_unfinished_verify(repository, "main", "").value());
}

TEST_F(VerifyFlat, IsVerifiedWhereNothingCanBeWritten) {
    const auto faulty = std::make_shared<test::FaultStorage>(*memory_);
    faulty->add({test::Operation::create, "*", 1, test::Fault::kEver,
                 Error(ErrorKind::access, "read only")});
    EXPECT_THAT(texts_of(run(faulty)), IsEmpty());
    EXPECT_EQ(run(faulty).repositories.at(0).objects_known, 0u);
}

/// Removes a backup and its WAL as soon as somebody reads from it, as an expire beside a verify.
class ExpiringStorage final : public storage::ReadOnlyStorage {
public:
    ExpiringStorage(storage::Storage& next, std::function<void()> expire)
        : ReadOnlyStorage(next), expire_(std::move(expire)) {}
    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        if (name.find(kIncr + "/bundle") != std::string::npos) std::exchange(expire_, [] {})();
        return next_.open(name, range);
    }

private:
    std::function<void()> expire_;
};

TEST_F(VerifyFlat, WhatExpiresMeanwhileIsNoDamage) {
    const auto expire = [this] {
        repo::Repository repository{1, memory_, {}, "", ""};
        auto info = repo::load_backup_info(repository, "main").value();
        info.backups.pop_back();
        repo::save_backup_info(repository, "main", info).value();
        memory_->remove_tree("backup/main/" + kIncr).value();
        const auto segments = memory_->list_tree("archive/main/15-1/0000000100000000");
        for (const storage::Entry& entry : *segments)
            if (entry.name.starts_with("000000010000000000000007"))
                memory_->remove("archive/main/15-1/0000000100000000/" + entry.name).value();
    };
    const VerifyResult result = run(std::make_shared<ExpiringStorage>(*memory_, expire));
    for (const std::string& text : texts_of(result))
        EXPECT_THAT(text, testing::Not(HasSubstr(kIncr)));
    EXPECT_EQ(result.repositories.at(0).backups.size(), 2u);
}

TEST_F(VerifyFlat, LedgersOfBackupsThatAreGoneGoToo) {
    run(memory_);
    ASSERT_OK(memory_->remove_tree("backup/main/" + kIncr));
    repo::Repository repository{1, memory_, {}, "", ""};
    auto info = repo::load_backup_info(repository, "main");
    ASSERT_OK(info);
    info->backups.pop_back();
    ASSERT_OK(repo::save_backup_info(repository, "main", *info));
    run(memory_);
    const auto ledgers = memory_->list("chronos/main/verify/backup", "");
    ASSERT_OK(ledgers);
    std::vector<std::string> names;
    for (const storage::Entry& entry : *ledgers) names.push_back(entry.name);
    EXPECT_THAT(names, testing::ElementsAre(kFull, kDiff));
}

}  // namespace
}  // namespace chronos::ops::verify
