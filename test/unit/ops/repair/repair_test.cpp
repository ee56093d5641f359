#include "chronos/ops/repair/repair.h"

#include <gmock/gmock.h>

#include "chronos/repo/info.h"
#include "chronos/repo/local/lock.h"
#include "dying_storage.h"
#include "memory_storage.h"
#include "synthetic_stanza.h"
#include "temporary_directory.h"

namespace chronos::ops::repair {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Each;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kFull = "20260101-000001F";
const std::string kDiff = "20260101-000001F_20260102-000001D";
const std::string kLast = "20260103-000001F";
const std::string kBackupInfo = "backup/main/backup.info";
const std::string kArchiveInfo = "archive/main/archive.info";

std::string manifest_of(const std::string& label) {
    return "backup/main/" + label + "/backup.manifest";
}

/// A stanza with a full backup, one that rests on it, and another full one.
class RepairTest : public testing::TestWithParam<const char*> {
protected:
    RepairTest() {
        stanza_.add(kFull, 2, 3, "", 1767225601);
        stanza_.add(kDiff, 4, 5, kFull, 1767312001);
        stanza_.add(kLast, 6, 7, "", 1767398401);
        stanza_.add_segments(1, 9);
        stanza_.save();
        whole_ = content();
    }
    bool encrypted() const { return *GetParam() != '\0'; }
    std::map<std::string, std::string> content() const {
        auto all = test::content_of(*memory_);
        std::erase_if(all, [](const auto& one) { return one.first.starts_with("chronos/"); });
        return all;
    }
    std::vector<std::string> aside() const {
        std::vector<std::string> names;
        for (const auto& [name, text] : test::content_of(*memory_))
            if (name.starts_with("chronos/main/aside/"))
                names.push_back(name.substr(std::string("chronos/main/aside/").size() + 17));
        return names;
    }
    RepairRequest request(bool force, std::shared_ptr<storage::Storage> storage = nullptr) const {
        RepairRequest request;
        request.repository = stanza_.through(storage ? storage : memory_);
        request.stanza = "main";
        request.force = force;
        request.lock_path = directory_ / "lock";
        request.exec_id = "1-00000000";
        return request;
    }
    Result<std::vector<Step>> run(bool force) const {
        return repair(request(force), Cancellation());
    }
    void damage(const std::string& name) { stanza_.write(name, "[garbage\n"); }
    void lose(const std::string& name) { ASSERT_OK(memory_->remove(name)); }

    /// Says `objects`, changes nothing, and says the same again; then mends them, and finds nothing
    /// more.
    void expect_mended(const std::vector<std::string>& objects) {
        const auto before = test::content_of(*memory_);
        for (int i = 0; i < 2; ++i) {
            const auto said = run(false);
            ASSERT_OK(said);
            EXPECT_EQ(objects_of(*said), objects);
            EXPECT_THAT(*said, Each(Field(&Step::state, State::to_do)));
        }
        EXPECT_EQ(test::content_of(*memory_), before);
        const auto done = run(true);
        ASSERT_OK(done);
        EXPECT_EQ(objects_of(*done), objects);
        EXPECT_THAT(*done, Each(Field(&Step::state, State::done)));
        const auto again = run(false);
        ASSERT_OK(again);
        EXPECT_THAT(objects_of(*again), IsEmpty());
    }
    static std::vector<std::string> objects_of(const std::vector<Step>& steps) {
        std::vector<std::string> objects;
        for (const Step& step : steps) objects.push_back(step.object);
        return objects;
    }
    /// Texts, because an encrypted object has another salt each time.
    void expect_same_infos() {
        EXPECT_EQ(*repo::load_backup_info(stanza_.repository(), "main"), stanza_.backup_info());
        EXPECT_EQ(*repo::load_archive_info(stanza_.repository(), "main"), archive_);
        if (!encrypted()) {
            EXPECT_EQ(content(), whole_);
        }
    }
    std::vector<std::string> listed() const {
        const auto info = repo::load_backup_info(stanza_.repository(), "main");
        std::vector<std::string> labels;
        for (const auto& entry : info->backups) labels.push_back(entry.label);
        return labels;
    }

    std::shared_ptr<test::MemoryStorage> memory_ = std::make_shared<test::MemoryStorage>();
    test::SyntheticStanza stanza_{memory_, GetParam()};
    repo::ArchiveInfo archive_;
    std::map<std::string, std::string> whole_;
    test::TemporaryDirectory directory_;

    void SetUp() override {
        archive_ = *repo::load_archive_info(stanza_.repository(), "main");
        // As manifests say them: the sizes of a file of four bytes.
        for (repo::BackupEntry& entry : stanza_.backup_info().backups)
            entry = repo::backup_entry_of(stanza_.manifest_of(entry));
        stanza_.save();
        whole_ = content();
    }
};

INSTANTIATE_TEST_SUITE_P(Encryption, RepairTest, testing::Values("", "secret"));

TEST_P(RepairTest, AHealthyStanzaIsLeftAlone) {
    for (const bool force : {false, true}) {
        const auto steps = run(force);
        ASSERT_OK(steps);
        EXPECT_THAT(objects_of(*steps), IsEmpty());
    }
    EXPECT_EQ(content(), whole_);
    EXPECT_THAT(aside(), IsEmpty());
}

TEST_P(RepairTest, OneFileOfAPairIsMadeFromTheOther) {
    for (const std::string& name :
         {kBackupInfo, kArchiveInfo, kBackupInfo + ".copy", kArchiveInfo + ".copy"}) {
        SCOPED_TRACE(name);
        lose(name);
        expect_mended({name});
        expect_same_infos();
    }
    damage(kBackupInfo);
    expect_mended({kBackupInfo});
    expect_same_infos();
    EXPECT_THAT(aside(), ElementsAre(kBackupInfo));
}

TEST_P(RepairTest, BackupInfoIsRebuiltFromManifestsUnlessTheKeyIsLostWithIt) {
    damage(kBackupInfo);
    lose(kBackupInfo + ".copy");
    if (!encrypted()) {
        expect_mended({kBackupInfo});
        return expect_same_infos();
    }
    const auto before = content();
    for (const bool force : {false, true}) {
        const auto steps = run(force);
        ASSERT_OK(steps);
        ASSERT_EQ(objects_of(*steps), std::vector<std::string>{kBackupInfo});
        EXPECT_EQ(steps->front().state, State::cannot);
        EXPECT_THAT(steps->front().remedy, HasSubstr("older copy"));
    }
    EXPECT_EQ(content(), before);
    // Any older copy, as long as the key is in it.
    repo::BackupInfo older = stanza_.backup_info();
    older.backups.clear();
    ASSERT_OK(repo::save_backup_info(stanza_.repository(), "main", older));
    expect_mended({kBackupInfo});
    expect_same_infos();
}

TEST_P(RepairTest, ArchiveInfoIsRebuiltFromBackupInfoUnlessTheKeyIsLostWithIt) {
    lose(kArchiveInfo);
    lose(kArchiveInfo + ".copy");
    if (!encrypted()) {
        expect_mended({kArchiveInfo});
        return expect_same_infos();
    }
    const auto steps = run(true);
    ASSERT_OK(steps);
    ASSERT_EQ(objects_of(*steps), std::vector<std::string>{kArchiveInfo});
    EXPECT_EQ(steps->front().state, State::cannot);
    // Without WAL there is nothing that the key would open.
    ASSERT_OK(memory_->remove_tree("archive/main"));
    expect_mended({kArchiveInfo});
    const auto info = repo::load_archive_info(stanza_.repository(), "main");
    ASSERT_OK(info);
    EXPECT_EQ(info->history, archive_.history);
    EXPECT_FALSE(info->cipher_pass.empty());
}

TEST_P(RepairTest, WithoutAnyInfoFileManifestsTellAll) {
    for (const std::string& name :
         {kBackupInfo, kArchiveInfo, kBackupInfo + ".copy", kArchiveInfo + ".copy"})
        lose(name);
    if (encrypted()) {
        const auto steps = run(true);
        ASSERT_OK(steps);
        EXPECT_THAT(*steps, Each(Field(&Step::state, State::cannot)));
        return;
    }
    expect_mended({kArchiveInfo, kBackupInfo});
    expect_same_infos();
}

TEST_P(RepairTest, AManifestIsMadeFromItsCopyOrTheHistory) {
    damage(manifest_of(kFull));
    damage(manifest_of(kDiff) + ".copy");
    lose(manifest_of(kLast));
    expect_mended({"backup/main/" + kLast + "/backup.manifest",
                   "backup/main/" + kDiff + "/backup.manifest",
                   "backup/main/" + kFull + "/backup.manifest"});
    expect_same_infos();
    EXPECT_EQ(aside().size(), 2u);
    damage(manifest_of(kFull));
    damage(manifest_of(kFull) + ".copy");
    expect_mended({"backup/main/" + kFull + "/backup.manifest"});
    expect_same_infos();
}

TEST_P(RepairTest, ABackupWithoutAManifestGoesAsideWithItsEntry) {
    damage(manifest_of(kLast));
    damage(manifest_of(kLast) + ".copy");
    damage("backup/main/backup.history/2026/" + kLast + ".manifest.gz");
    expect_mended({"backup/main/" + kLast, kBackupInfo});
    EXPECT_EQ(listed(), (std::vector<std::string>{kFull, kDiff}));
    EXPECT_THAT(aside(), Contains("backup/main/" + kLast + "/pg_data/PG_VERSION"));
    for (const auto& [name, text] : content())
        EXPECT_FALSE(name.starts_with("backup/main/" + kLast)) << name;
}

TEST_P(RepairTest, ABackupThatOthersRestOnStaysWhereItIs) {
    damage(manifest_of(kFull));
    damage(manifest_of(kFull) + ".copy");
    damage("backup/main/backup.history/2026/" + kFull + ".manifest.gz");
    const auto before = content();
    const auto steps = run(true);
    ASSERT_OK(steps);
    ASSERT_EQ(objects_of(*steps), std::vector<std::string>{"backup/main/" + kFull});
    EXPECT_EQ(steps->front().state, State::cannot);
    EXPECT_EQ(content(), before);
}

TEST_P(RepairTest, WhatRestsOnALostBackupGoesWithIt) {
    ASSERT_OK(memory_->remove_tree("backup/main/" + kFull));
    expect_mended({"backup/main/" + kDiff, kBackupInfo});
    EXPECT_EQ(listed(), std::vector<std::string>{kLast});
}

TEST_P(RepairTest, AManifestWhoseFilesAreGoneIsNotBroughtBack) {
    lose(manifest_of(kLast));
    lose(stanza_.data_of(kLast));
    expect_mended({"backup/main/" + kLast, kBackupInfo});
    EXPECT_EQ(listed(), (std::vector<std::string>{kFull, kDiff}));
}

TEST_P(RepairTest, ListsWhatIsThereAndKeepsAnnotations) {
    repo::BackupInfo info = stanza_.backup_info();
    info.backups[0].annotations["changed"] = "later";
    info.backups[0].size += 1;
    info.backups.erase(info.backups.begin() + 2);
    ASSERT_OK(repo::save_backup_info(stanza_.repository(), "main", info));
    expect_mended({kBackupInfo});
    repo::BackupInfo right = stanza_.backup_info();
    right.backups[0].annotations["changed"] = "later";
    EXPECT_EQ(*repo::load_backup_info(stanza_.repository(), "main"), right);
}

TEST_P(RepairTest, WhatMayBeABackupInTheMakingIsLeftAlone) {
    const std::string running = "backup/main/20260104-000001F";
    stanza_.write(running + "/pg_data/PG_VERSION", "data");
    const auto steps = run(true);
    ASSERT_OK(steps);
    EXPECT_THAT(objects_of(*steps), IsEmpty());
    const std::string lost = "backup/main/20260102-120000F";
    stanza_.write(lost + "/pg_data/PG_VERSION", "data");
    expect_mended({lost});
    EXPECT_EQ(aside(), std::vector<std::string>{lost + "/pg_data/PG_VERSION"});
}

TEST_P(RepairTest, OfAnotherClusterGoesAside) {
    test::SyntheticStanza other(memory_, GetParam(), "other");
    other.add_cluster("16");
    other.add("20260105-000001F", 1, 1);
    repo::Manifest stranger = other.manifest_of(other.backups().front());
    ASSERT_OK(repo::save_manifest(stanza_.repository(), "main", stranger.label,
                                  repo::format_manifest(stranger),
                                  stanza_.backup_info().cipher_pass));
    expect_mended({"backup/main/20260105-000001F"});
    expect_same_infos();
}

TEST_P(RepairTest, HistoriesThatDisagreeAreNotDecidedHere) {
    stanza_.add_cluster("16");
    ASSERT_OK(repo::save_backup_info(stanza_.repository(), "main", stanza_.backup_info()));
    const auto steps = run(true);
    ASSERT_OK(steps);
    ASSERT_EQ(objects_of(*steps), std::vector<std::string>{kBackupInfo});
    EXPECT_EQ(steps->front().state, State::cannot);
    EXPECT_THAT(steps->front().remedy, HasSubstr("stanza-upgrade"));
}

// Which of the two is wrong nobody knows: it may be the one that lists the backups.
TEST_P(RepairTest, WhatArchiveInfoKnowsIsNotMovedWhateverBackupInfoSays) {
    repo::BackupInfo info = stanza_.backup_info();
    info.history.back().system_id += 1;
    ASSERT_OK(repo::save_backup_info(stanza_.repository(), "main", info));
    const auto before = content();
    const auto steps = run(true);
    ASSERT_OK(steps);
    EXPECT_THAT(*steps, Each(Field(&Step::state, State::cannot)));
    EXPECT_THAT(objects_of(*steps), Contains("backup/main/" + kFull));
    EXPECT_THAT(aside(), IsEmpty());
    EXPECT_EQ(content(), before);
    EXPECT_EQ(listed(), (std::vector<std::string>{kFull, kDiff, kLast}));
    ASSERT_OK(repo::save_backup_info(stanza_.repository(), "main", stanza_.backup_info()));
    const auto again = run(true);
    ASSERT_OK(again);
    EXPECT_THAT(objects_of(*again), IsEmpty());
}

TEST_P(RepairTest, AWrongPassphraseIsNoDamage) {
    RepairRequest wrong = request(true);
    wrong.repository.cipher = crypto::CipherType::aes_256_cbc;
    wrong.repository.passphrase = "wrong";
    EXPECT_ERROR(ErrorKind::crypto, repair(wrong, Cancellation()));
    EXPECT_EQ(content(), whole_);
}

TEST_P(RepairTest, NothingOfAStanzaIsAnError) {
    RepairRequest none = request(true);
    none.stanza = "none";
    EXPECT_ERROR(ErrorKind::not_found, repair(none, Cancellation()));
}

TEST_P(RepairTest, WaitsForNobodyAndDisturbsNobody) {
    const auto lock =
        repo::Lock::acquire({directory_ / "lock", "main", repo::LockType::backup, 1, "2-00000000"});
    ASSERT_OK(lock);
    EXPECT_OK(run(false));
    EXPECT_ERROR(ErrorKind::lock_acquire, run(true));
}

// The worst that can be mended, killed at every change.
TEST_P(RepairTest, KilledAnywhereTheSameCallGoesOn) {
    std::map<std::string, std::string> wanted;
    for (unsigned changes = 0;; ++changes) {
        SCOPED_TRACE(changes);
        const auto memory = std::make_shared<test::MemoryStorage>();
        test::SyntheticStanza stanza(memory, GetParam());
        stanza.add(kFull, 2, 3);
        stanza.add(kDiff, 4, 5, kFull);
        stanza.add(kLast, 6, 7);
        stanza.add_segments(1, 9);
        stanza.save();
        stanza.write(manifest_of(kFull), "[garbage\n");
        stanza.write(manifest_of(kLast), "[garbage\n");
        for (const std::string& name :
             {manifest_of(kLast) + ".copy",
              "backup/main/backup.history/2026/" + kLast + ".manifest.gz"})
            ASSERT_OK(memory->remove(name));
        stanza.write(kArchiveInfo + ".copy", "[garbage\n");
        if (!encrypted())
            for (const std::string& name : {kBackupInfo, kBackupInfo + ".copy", kArchiveInfo})
                stanza.write(name, "[garbage\n");
        ASSERT_OK(memory->sync_tree(""));
        RepairRequest request = this->request(true);
        const auto dying = std::make_shared<test::DyingStorage>(memory, changes);
        request.repository = stanza.through(dying);
        const auto first = repair(request, Cancellation());
        memory->crash();
        request.repository = stanza.through(memory);
        const auto steps = repair(request, Cancellation());
        ASSERT_OK(steps);
        EXPECT_THAT(*steps, Each(Field(&Step::state, State::done)));
        request.force = false;
        const auto left = repair(request, Cancellation());
        ASSERT_OK(left);
        EXPECT_THAT(objects_of(*left), IsEmpty());
        const auto info = repo::load_backup_info(stanza.repository(), "main");
        ASSERT_OK(info);
        ASSERT_EQ(info->backups.size(), 2u);
        EXPECT_OK(repo::load_manifest(stanza.repository(), "main", kFull, info->cipher_pass));
        // Not a byte of what went aside is lost.
        bool found = false;
        for (const auto& [name, text] : test::content_of(*memory))
            if (name.ends_with(kLast + "/pg_data/PG_VERSION")) found = text == "data";
        EXPECT_TRUE(found);
        if (first) break;
        ASSERT_LT(changes, 100u);
    }
}

}  // namespace
}  // namespace chronos::ops::repair
