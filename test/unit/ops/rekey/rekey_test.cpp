#include "chronos/ops/rekey/rekey.h"

#include <gmock/gmock.h>

#include "chronos/repo/info.h"
#include "chronos/repo/local/lock.h"
#include "dying_storage.h"
#include "fault_storage.h"
#include "memory_storage.h"
#include "synthetic_stanza.h"
#include "temporary_directory.h"

namespace chronos::ops::rekey {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kOld = "the old passphrase";
const std::string kNew = "the new passphrase";
const std::string kLabel = "20260101-000001F";

/// A lease of each stanza is made, and removed.
constexpr unsigned kLeaseSteps = 4;

/// What was changed, but for the leases.
std::vector<std::string> changes_of(const test::FaultStorage& storage) {
    std::vector<std::string> changes;
    for (const std::string& change : storage.changes())
        if (change.find("/run/") == std::string::npos) changes.push_back(change);
    return changes;
}

/// A repository of two stanzas under the old passphrase.
struct TwoStanzas {
    std::shared_ptr<test::MemoryStorage> memory = std::make_shared<test::MemoryStorage>();
    test::SyntheticStanza main{memory, kOld, "main"};
    test::SyntheticStanza other{memory, kOld, "other"};

    TwoStanzas() {
        for (test::SyntheticStanza* stanza : {&main, &other}) {
            stanza->add(kLabel, 2, 3);
            stanza->add_segments(1, 3);
            stanza->save();
        }
    }
    repo::Repository with(const std::string& pass, const std::string& previous = "",
                          std::shared_ptr<storage::Storage> storage = nullptr) const {
        repo::Repository repository = main.repository();
        if (storage) repository.storage = std::move(storage);
        repository.passphrase = pass;
        repository.previous_passphrase = previous;
        return repository;
    }
    /// Whether a tool that has only these opens everything.
    bool opens(const std::string& pass, const std::string& previous = "") const {
        const repo::Repository repository = with(pass, previous);
        for (const char* stanza : {"main", "other"}) {
            const auto archive = repo::load_archive_info(repository, stanza);
            const auto backup = repo::load_backup_info(repository, stanza);
            if (!archive || !backup || archive->cipher_pass != "archive pass" ||
                !repo::load_manifest(repository, stanza, kLabel, backup->cipher_pass))
                return false;
        }
        return true;
    }
};

class RekeyTest : public testing::Test {
protected:
    RekeyRequest request(Phase phase, const repo::Repository& repository) const {
        RekeyRequest request;
        request.repository = repository;
        request.phase = phase;
        if (phase == Phase::prepare) request.new_passphrase = kNew;
        request.lock_path = directory_ / "lock";
        request.exec_id = "1-00000000";
        return request;
    }
    Result<std::vector<RekeyedFile>> run(Phase phase, const repo::Repository& repository) const {
        return rekey(request(phase, repository), Cancellation());
    }

    test::TemporaryDirectory directory_;
};

TEST_F(RekeyTest, WritesEveryCopyBeforeTheFirstMainFile) {
    TwoStanzas stanzas;
    auto fault = std::make_shared<test::FaultStorage>(*stanzas.memory);
    ASSERT_OK(run(Phase::whole, stanzas.with(kNew, kOld, fault)));
    std::vector<std::string> finished;
    for (const std::string& change : changes_of(*fault))
        if (change.starts_with("finish")) finished.push_back(change);
    EXPECT_EQ(changes_of(*fault).size(), 16u)
        << "eight files are created, and nothing else happens";
    EXPECT_THAT(
        finished,
        ElementsAre("finish archive/main/archive.info.copy", "finish backup/main/backup.info.copy",
                    "finish archive/other/archive.info.copy",
                    "finish backup/other/backup.info.copy", "finish archive/main/archive.info",
                    "finish backup/main/backup.info", "finish archive/other/archive.info",
                    "finish backup/other/backup.info"));
    EXPECT_TRUE(stanzas.opens(kNew));
    EXPECT_FALSE(stanzas.opens(kOld));
}

TEST_F(RekeyTest, LeavesBackupsAndWalAsTheyAre) {
    TwoStanzas stanzas;
    auto before = test::content_of(*stanzas.memory);
    ASSERT_OK(run(Phase::whole, stanzas.with(kNew, kOld)));
    auto after = test::content_of(*stanzas.memory);
    ASSERT_EQ(before.size(), after.size());
    for (const auto& [name, content] : before)
        EXPECT_EQ(content == after[name], name.find(".info") == std::string::npos) << name;
}

TEST_F(RekeyTest, BetweenThePhasesEitherPassphraseOpensEverything) {
    TwoStanzas stanzas;
    ASSERT_OK(run(Phase::prepare, stanzas.with(kOld)));
    EXPECT_TRUE(stanzas.opens(kOld));
    EXPECT_TRUE(stanzas.opens(kNew));
    ASSERT_OK(run(Phase::finish, stanzas.with(kNew)));
    EXPECT_FALSE(stanzas.opens(kOld));
    EXPECT_TRUE(stanzas.opens(kNew));
}

/// Kills `phase` at every step, each time on a repository that `prepare` has made ready, and goes
/// on with it; the passphrases of the configuration must open everything all the time.
template <class Prepare, class Call>
void kill_everywhere(const Prepare& prepare, const Call& call, const std::string& pass,
                     const std::string& previous, unsigned steps) {
    for (unsigned step = 0;; ++step) {
        SCOPED_TRACE(step);
        TwoStanzas stanzas;
        prepare(stanzas);
        const auto dying = std::make_shared<test::DyingStorage>(stanzas.memory, step);
        (void)call(stanzas.with(pass, previous, dying));
        stanzas.memory->crash();
        ASSERT_TRUE(stanzas.opens(kOld) || stanzas.opens(kNew)) << "neither opens all";
        ASSERT_TRUE(stanzas.opens(pass, previous));
        ASSERT_OK(call(stanzas.with(pass, previous)));
        ASSERT_TRUE(stanzas.opens(kNew));
        ASSERT_TRUE(stanzas.opens(pass, previous));
        if (!dying->dead()) {
            EXPECT_EQ(step, steps + kLeaseSteps);
            return;
        }
    }
}

TEST_F(RekeyTest, KilledAtAnyStepOneOfThePassphrasesOpensEverything) {
    const auto nothing = [](TwoStanzas&) {};
    const auto whole = [&](const repo::Repository& repository) {
        return run(Phase::whole, repository);
    };
    kill_everywhere(nothing, whole, kNew, kOld, 8);
    const auto prepare = [&](const repo::Repository& repository) {
        return run(Phase::prepare, repository);
    };
    kill_everywhere(nothing, prepare, kOld, "", 4);
    const auto prepared = [&](TwoStanzas& stanzas) {
        ASSERT_OK(run(Phase::prepare, stanzas.with(kOld)));
    };
    const auto finish = [&](const repo::Repository& repository) {
        return run(Phase::finish, repository);
    };
    kill_everywhere(prepared, finish, kNew, "", 4);
}

TEST_F(RekeyTest, ASecondTimeThereIsNothingToDo) {
    TwoStanzas stanzas;
    ASSERT_OK(run(Phase::whole, stanzas.with(kNew, kOld)));
    const auto before = test::content_of(*stanzas.memory);
    const auto again = run(Phase::whole, stanzas.with(kNew, kOld));
    ASSERT_OK(again);
    EXPECT_EQ(test::content_of(*stanzas.memory), before);
    ASSERT_EQ(again->size(), 8u);
    for (const RekeyedFile& file : *again) EXPECT_FALSE(file.written) << file.name;
}

TEST_F(RekeyTest, PreparingRestoresALostMainFileBeforeItsCopyIsOutOfReach) {
    TwoStanzas stanzas;
    ASSERT_OK(stanzas.memory->remove("backup/main/backup.info"));
    for (unsigned step = 0; step < 6; ++step) {
        const auto dying = std::make_shared<test::DyingStorage>(stanzas.memory, step);
        (void)run(Phase::prepare, stanzas.with(kOld, "", dying));
        ASSERT_TRUE(stanzas.opens(kOld)) << step;
    }
    EXPECT_TRUE(stanzas.opens(kNew));
}

TEST_F(RekeyTest, FinishesOnlyWhatItCanOpen) {
    TwoStanzas stanzas;
    ASSERT_OK(run(Phase::prepare, stanzas.with(kOld)));
    // A backup with the old configuration: both files are back under the old passphrase.
    ASSERT_OK(repo::save_backup_info(stanzas.with(kOld), "other", stanzas.other.backup_info()));
    const auto before = test::content_of(*stanzas.memory);
    const auto refused = run(Phase::finish, stanzas.with(kNew));
    EXPECT_ERROR(ErrorKind::crypto, refused);
    EXPECT_THAT(refused.error().hint(), HasSubstr("repo1-cipher-pass-previous"));
    EXPECT_THAT(refused.error().text(), Not(HasSubstr("the old")));
    EXPECT_EQ(test::content_of(*stanzas.memory), before);
    ASSERT_OK(run(Phase::finish, stanzas.with(kNew, kOld)));
    EXPECT_TRUE(stanzas.opens(kNew));
}

TEST_F(RekeyTest, WrongPassphraseChangesNothing) {
    TwoStanzas stanzas;
    const auto before = test::content_of(*stanzas.memory);
    EXPECT_ERROR(ErrorKind::crypto, run(Phase::whole, stanzas.with(kNew, "wrong")));
    EXPECT_ERROR(ErrorKind::crypto, run(Phase::prepare, stanzas.with("wrong")));
    EXPECT_ERROR(ErrorKind::crypto, run(Phase::finish, stanzas.with(kNew)));
    EXPECT_EQ(test::content_of(*stanzas.memory), before);
}

TEST_F(RekeyTest, StorageThatFailsChangesNothing) {
    TwoStanzas stanzas;
    auto fault = std::make_shared<test::FaultStorage>(*stanzas.memory);
    fault->add({.operation = test::Operation::open, .pattern = "*other/backup.info"});
    EXPECT_ERROR(ErrorKind::service, run(Phase::whole, stanzas.with(kNew, kOld, fault)));
    EXPECT_THAT(changes_of(*fault), IsEmpty());
}

TEST_F(RekeyTest, RefusesWhileSomebodyUsesAStanza) {
    TwoStanzas stanzas;
    for (const repo::LockType type :
         {repo::LockType::archive, repo::LockType::backup, repo::LockType::restore}) {
        const auto lock =
            repo::Lock::acquire({directory_ / "lock", "other", type, 1, "2-00000000"});
        ASSERT_OK(lock);
        EXPECT_ERROR(ErrorKind::lock_acquire, run(Phase::whole, stanzas.with(kNew, kOld)));
    }
    EXPECT_TRUE(stanzas.opens(kOld));
    EXPECT_OK(run(Phase::whole, stanzas.with(kNew, kOld)));
}

TEST_F(RekeyTest, WantsTheConfigurationToOpenTheRepositoryAfterwards) {
    TwoStanzas stanzas;
    RekeyRequest one = request(Phase::whole, stanzas.with(kOld));
    one.new_passphrase = kNew;
    EXPECT_ERROR(ErrorKind::option_invalid, rekey(one, Cancellation()));
    EXPECT_ERROR(ErrorKind::option_required, run(Phase::whole, stanzas.with(kNew)));
    one = request(Phase::prepare, stanzas.with(kOld));
    one.new_passphrase = kOld;
    EXPECT_ERROR(ErrorKind::option_invalid_value, rekey(one, Cancellation()));
    one.new_passphrase.clear();
    EXPECT_ERROR(ErrorKind::option_required, rekey(one, Cancellation()));
    repo::Repository plain = stanzas.with(kOld);
    plain.cipher = crypto::CipherType::none;
    EXPECT_ERROR(ErrorKind::option_invalid, run(Phase::prepare, plain));
    plain = stanzas.with(kOld);
    plain.storage = std::make_shared<test::MemoryStorage>();
    EXPECT_ERROR(ErrorKind::not_found, run(Phase::prepare, plain));
}

TEST_F(RekeyTest, DirectoriesThatAreNoStanzaAreLeftAlone) {
    TwoStanzas stanzas;
    stanzas.main.write("backup/notes/readme", "x");
    ASSERT_OK(run(Phase::whole, stanzas.with(kNew, kOld)));
    EXPECT_TRUE(stanzas.opens(kNew));
}

}  // namespace
}  // namespace chronos::ops::rekey
