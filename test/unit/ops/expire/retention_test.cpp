#include "ops/expire/retention.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <random>

#include "memory_storage.h"
#include "ops/expire/wal.h"
#include "synthetic_stanza.h"

namespace chronos::ops::expire {
namespace {

using repo::BackupEntry;
using repo::BackupType;
using test::SyntheticStanza;
using testing::ElementsAre;

constexpr UnixTime kDay = 86400;
constexpr UnixTime kNow = 1000 * kDay;

/// A list of backups in shorthand: "F1", "F1_D2", "F1_I3"; the digit is the day, and they sort.
class Backups {
public:
    Backups& add(const std::string& name, const std::string& prior = "") {
        const int day = std::stoi(name.substr(name.find_last_of("FDI") + 1));
        BackupEntry& entry = stanza_.add(label(name), 10u * static_cast<unsigned>(day),
                                         10u * static_cast<unsigned>(day) + 1, label(prior),
                                         kNow - (100 - day) * kDay);
        names_[entry.label] = name;
        return *this;
    }
    static std::string label(const std::string& name) {
        if (name.empty()) return "";
        const auto part = [](const std::string& text) {
            char out[24];
            std::snprintf(out, sizeof out, "20260101-%06d%c", std::stoi(text.substr(1)), text[0]);
            return std::string(out);
        };
        const std::size_t line = name.find('_');
        if (line == std::string::npos) return part(name);
        return part(name.substr(0, line)) + "_" + part(name.substr(line + 1));
    }
    const std::vector<BackupEntry>& list() const { return stanza_.backups(); }

    std::vector<std::string> expired(const Retention& retention,
                                     const std::set<std::string>& held = {}) const {
        std::set<std::string> labels;
        for (const std::string& name : held) labels.insert(label(name));
        return names(plan_backups(list(), retention, labels, kNow));
    }
    std::vector<std::string> names(const BackupPlan& plan) const {
        std::vector<std::string> found;
        for (const auto& [each, reason] : plan.expired) found.push_back(names_.at(each));
        return found;
    }

private:
    SyntheticStanza stanza_{std::make_shared<test::MemoryStorage>()};
    std::map<std::string, std::string> names_;
};

Retention fulls(std::uint64_t count) {
    Retention retention;
    retention.full = count;
    return retention;
}

TEST(Retention, KeepsSoManyFullBackupsAndTakesTheOthersWithTheirDependents) {
    Backups backups;
    backups.add("F1").add("F1_D2", "F1").add("F1_I3", "F1_D2").add("F4").add("F5");
    EXPECT_THAT(backups.expired(fulls(2)), ElementsAre("F1", "F1_D2", "F1_I3"));
    EXPECT_THAT(backups.expired(fulls(3)), ElementsAre());
    EXPECT_THAT(backups.expired({}), ElementsAre());
}

TEST(Retention, OfDaysKeepsTheNewestFullBeforeTheLimitToo) {
    Backups backups;
    backups.add("F1").add("F50").add("F50_I60", "F50").add("F96").add("F99");
    Retention retention = fulls(3);
    retention.full_unit = Unit::days;  // ended before day 97: 96 is the newest of them
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1", "F50", "F50_I60"));
    EXPECT_EQ(plan_backups(backups.list(), retention, {}, kNow).archive, 2u);
    retention.full = 99;  // F1 ended exactly at the limit, not before it
    EXPECT_THAT(backups.expired(retention), ElementsAre());
    EXPECT_EQ(plan_backups(backups.list(), retention, {}, kNow).archive, std::nullopt)
        << "no WAL goes before the limit was met";
}

TEST(Retention, CountsFullBackupsAmongTheDiffs) {
    Backups backups;  // the example of docs/format/expire.md, Which backups expire, rule 3
    backups.add("F1").add("F1_D1", "F1").add("F1_D2", "F1").add("F3");
    Retention retention;
    retention.diff = 2;
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1_D1"));
}

TEST(Retention, TakesIncrsWithTheDiffTheyAreBasedOn) {
    Backups backups;
    backups.add("F1")
        .add("F1_D2", "F1")
        .add("F1_D4", "F1")
        .add("F1_I3", "F1_D2")
        .add("F1_I5", "F1_D4");
    Retention retention;
    retention.diff = 1;
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1_D2", "F1_I3"));
}

TEST(Retention, CanCountDiffsOfEachFull) {
    Backups backups;
    backups.add("F1").add("F1_D2", "F1").add("F1_D3", "F1").add("F1_D4", "F1");
    backups.add("F5").add("F5_D6", "F5").add("F5_D7", "F5");
    Retention retention;
    retention.diff = 2;
    retention.diff_per_full = true;
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1_D2"));
    retention.diff = 1;
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1_D2", "F1_D3", "F5_D6"));
}

TEST(Retention, CanKeepDiffsByDays) {
    Backups backups;
    backups.add("F1")
        .add("F1_D20", "F1")
        .add("F1_D91", "F1")
        .add("F1_D92", "F1")
        .add("F1_D99", "F1");
    backups.add("F1_I21", "F1_D20");
    Retention retention;
    retention.diff = 7;
    retention.diff_unit = Unit::days;
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1_D20", "F1_I21", "F1_D91"));
    retention.archive_type = BackupType::diff;
    EXPECT_EQ(plan_backups(backups.list(), retention, {}, kNow).archive, 2u);
}

TEST(Retention, ExpiresIncrsButNeverOneThatANewerBackupIsBasedOn) {
    Backups backups;
    backups.add("F1").add("F1_I2", "F1").add("F1_I3", "F1_I2").add("F1_I4", "F1");
    backups.add("F1_I5", "F1_I4").add("F1_I6", "F1_I5");
    Retention retention;
    retention.incr = 1;
    // 4 and 5 carry 6; 3 goes first and frees 2.
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1_I2", "F1_I3"));
    retention.incr = 4;
    EXPECT_THAT(backups.expired(retention), ElementsAre());  // 2 carries 3, which stays
}

TEST(Retention, CanKeepIncrsByDays) {
    Backups backups;
    backups.add("F1").add("F1_I20", "F1").add("F1_I90", "F1").add("F1_I99", "F1");
    Retention retention;
    retention.incr = 5;
    retention.incr_unit = Unit::days;
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1_I20"));
}

TEST(Retention, StopsAtTheFloor) {
    Backups backups;
    backups.add("F1").add("F2").add("F3").add("F4");
    Retention retention = fulls(1);
    retention.full_floor = 3;
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1"));
    EXPECT_EQ(plan_backups(backups.list(), retention, {}, kNow).archive, 3u)
        << "WAL of what the floor keeps stays too";
    retention.full_unit = Unit::days;
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1"));
    retention.full_floor = 0;
    retention.full_unit = Unit::count;
    retention.full = 0;  // not to be had as an option; the last one stays all the same
    EXPECT_THAT(backups.expired(retention), ElementsAre("F1", "F2", "F3"));
}

TEST(Retention, KeepsWhatIsHeldWithAllItDependsOnAndNoMore) {
    Backups backups;
    backups.add("F1").add("F1_D2", "F1").add("F1_D3", "F1").add("F1_I4", "F1_D3");
    backups.add("F1_I5", "F1_I4").add("F6");
    EXPECT_THAT(backups.expired(fulls(1), {"F1_I4"}), ElementsAre("F1_D2", "F1_I5"));
    EXPECT_THAT(backups.expired(fulls(1), {"F1"}), ElementsAre("F1_D2", "F1_D3", "F1_I4", "F1_I5"));
    const BackupPlan plan = plan_backups(backups.list(), fulls(1), {Backups::label("F1_I4")}, kNow);
    EXPECT_EQ(plan.kept.at(Backups::label("F1_I4")), "held");
    EXPECT_EQ(plan.kept.at(Backups::label("F1")), "a held backup depends on it");
}

TEST(Retention, ArchiveFollowsItsOwnOptionOrTheRuleOfItsType) {
    Backups backups;
    backups.add("F1").add("F1_D2", "F1").add("F3").add("F3_D4", "F3").add("F3_D5", "F3");
    const auto archive = [&](const Retention& retention) {
        return plan_backups(backups.list(), retention, {}, kNow).archive;
    };
    Retention retention = fulls(2);
    EXPECT_EQ(archive(retention), 2u);
    retention.archive = 7;
    EXPECT_EQ(archive(retention), 7u);
    retention.archive.reset();
    retention.archive_type = BackupType::diff;
    EXPECT_EQ(archive(retention), std::nullopt);
    retention.diff = 3;
    EXPECT_EQ(archive(retention), 3u);
    retention.diff_per_full = true;
    retention.diff = 1;
    EXPECT_EQ(archive(retention), 4u) << "F1, D2, F3 and D5 are left, and WAL from F1 on";
    retention.archive_type = BackupType::incr;
    EXPECT_EQ(archive(retention), std::nullopt);
}

// --- WAL

repo::HistoryEntry cluster(std::uint64_t id) {
    repo::HistoryEntry entry;
    entry.id = id;
    entry.version = "15";
    return entry;
}

/// docs/format/expire.md, An example of retention.
SyntheticStanza worked_example() {
    SyntheticStanza stanza(std::make_shared<test::MemoryStorage>());
    stanza.add("20260101-000002F", 0x10, 0x11);
    stanza.add("20260101-000002F_20260101-000003I", 0x12, 0x13, "20260101-000002F");
    stanza.add("20260101-000004F", 0x15, 0x15);
    return stanza;
}

std::vector<unsigned> removed_segments(const WalPlan& plan, unsigned last) {
    std::vector<unsigned> removed;
    for (unsigned number = 1; number <= last; ++number)
        if (file_outside(plan, SyntheticStanza::segment(number) + "-00.gz"))
            removed.push_back(number);
    return removed;
}

TEST(Wal, OfTheWorkedExampleOfTheReference) {
    const SyntheticStanza stanza = worked_example();
    WalRetention retention;
    retention.count = 2;
    std::vector<unsigned> expected;
    for (unsigned number = 1; number <= 0x0F; ++number) expected.push_back(number);
    EXPECT_EQ(removed_segments(plan_wal(stanza.backups(), cluster(1), true, retention, {}), 0x20),
              expected);
    retention.count = 1;
    expected.push_back(0x14);
    EXPECT_EQ(removed_segments(plan_wal(stanza.backups(), cluster(1), true, retention, {}), 0x20),
              expected);
}

TEST(Wal, StaysWhileThereAreFewerBackupsThanAskedFor) {
    const SyntheticStanza stanza = worked_example();
    WalRetention retention;
    EXPECT_EQ(plan_wal(stanza.backups(), cluster(1), true, retention, {}).action,
              WalPlan::Action::nothing);
    retention.count = 3;
    EXPECT_EQ(plan_wal(stanza.backups(), cluster(1), true, retention, {}).action,
              WalPlan::Action::nothing);
}

TEST(Wal, OfAClusterWithoutBackupsGoesUnlessItIsTheCurrentOne) {
    const SyntheticStanza stanza = worked_example();
    WalRetention retention;
    retention.count = 1;
    EXPECT_EQ(plan_wal(stanza.backups(), cluster(2), false, retention, {}).action,
              WalPlan::Action::remove_whole);
    EXPECT_EQ(plan_wal(stanza.backups(), cluster(2), true, retention, {}).action,
              WalPlan::Action::nothing);
}

TEST(Wal, OfAnOfflineRetentionBackupStays) {
    SyntheticStanza stanza(std::make_shared<test::MemoryStorage>());
    stanza.add("20260101-000002F", 0, 0);
    WalRetention retention;
    retention.count = 1;
    EXPECT_EQ(plan_wal(stanza.backups(), cluster(1), true, retention, {}).action,
              WalPlan::Action::nothing);
}

TEST(Wal, IsKeptFromTheSegmentThatWasAskedFor) {
    const SyntheticStanza stanza = worked_example();
    WalRetention retention;
    retention.count = 1;
    retention.expire_before = SyntheticStanza::segment(0x0E);
    const WalPlan plan = plan_wal(stanza.backups(), cluster(1), true, retention, {});
    EXPECT_EQ(removed_segments(plan, 0x20).size(), 0x0Du) << "1 to D; E to 15 is protected";
    const WalPlan no_backup = plan_wal({}, cluster(1), true, retention, {});
    EXPECT_EQ(removed_segments(no_backup, 0x20).size(), 0x0Du);
    EXPECT_EQ(plan_wal({}, cluster(1), false, retention, {}).action, WalPlan::Action::nothing);
}

TEST(Wal, DirectoriesAreJudgedByTheirFirstSixteenDigits) {
    SyntheticStanza stanza(std::make_shared<test::MemoryStorage>());
    stanza.add("20260101-000002F", 0x110, 0x111);
    stanza.add("20260101-000004F", 0x310, 0x310);
    WalRetention retention;
    retention.count = 1;
    const WalPlan plan = plan_wal(stanza.backups(), cluster(1), true, retention, {});
    EXPECT_TRUE(directory_outside(plan, "0000000100000000"));
    EXPECT_FALSE(directory_outside(plan, "0000000100000001"));
    EXPECT_TRUE(directory_outside(plan, "0000000100000002"));
    EXPECT_FALSE(directory_outside(plan, "0000000100000003"));
    EXPECT_FALSE(directory_outside(plan, "0000000200000000"));
    EXPECT_TRUE(file_outside(plan, SyntheticStanza::segment(0x10F) + ".00000028.backup"));
    EXPECT_FALSE(file_outside(plan, "README"));
    EXPECT_FALSE(file_outside(plan, "a name of some other tool"));
}

TEST(Wal, OfAHeldBackupKeepsTheHistoryOfItsTimeline) {
    SyntheticStanza stanza(std::make_shared<test::MemoryStorage>());
    stanza.add("20260101-000002F", 2, 3).archive_start = SyntheticStanza::segment(2, 2);
    stanza.add("20260101-000004F", 9, 9).archive_start = SyntheticStanza::segment(9, 4);
    WalRetention retention;
    retention.count = 1;
    EXPECT_EQ(plan_wal(stanza.backups(), cluster(1), true, retention, {}).history_start,
              "00000004");
    EXPECT_EQ(
        plan_wal(stanza.backups(), cluster(1), true, retention, {"20260101-000002F"}).history_start,
        "00000002");
}

// --- random lists against a model that removes one thing at a time

struct RandomCase {
    Backups backups;
    std::vector<std::string> order;  // names
    Retention retention;
    std::set<std::string> held;  // labels
};

class Random {
public:
    explicit Random(unsigned seed) : engine_(seed) {}
    unsigned below(unsigned limit) { return static_cast<unsigned>(engine_() % limit); }
    std::optional<std::uint64_t> maybe(unsigned limit) {
        if (below(3) == 0) return std::nullopt;
        return 1 + below(limit);
    }

private:
    std::mt19937 engine_;
};

void random_case(Random& random, RandomCase& result) {
    std::string full;
    std::string last;
    std::vector<std::string>& names = result.order;
    const int count = 1 + static_cast<int>(random.below(14));
    for (int day = 1; day <= count; ++day) {
        const unsigned kind = full.empty() ? 0 : random.below(4);
        const std::string number = std::to_string(day * 6);
        std::string name = "F" + number;
        std::string prior;
        if (kind == 0) {
            full = name;
        } else if (kind == 1) {
            name = full + "_D" + number;
            prior = full;
        } else {
            name = full + "_I" + number;
            prior = last;
        }
        last = name;
        names.push_back(name);
        result.backups.add(name, prior);
    }
    Retention& retention = result.retention;
    retention.full = random.maybe(4);
    retention.diff = random.maybe(5);
    retention.incr = random.maybe(5);
    retention.full_floor = 1 + random.below(3);
    if (random.below(3) == 0) retention.full_unit = Unit::days, retention.full = random.below(100);
    if (random.below(3) == 0) retention.diff_unit = Unit::days, retention.diff = random.below(100);
    if (random.below(3) == 0) retention.incr_unit = Unit::days, retention.incr = random.below(100);
    retention.diff_per_full = random.below(2) == 0;
    for (const std::string& name : names)
        if (random.below(8) == 0) result.held.insert(Backups::label(name));
}

/// What stays, by removing one backup at a time from a list until no rule applies any more.
class Model {
public:
    explicit Model(const RandomCase& random) : retention_(random.retention) {
        for (const BackupEntry& entry : random.backups.list()) left_[entry.label] = &entry;
        full();
        diff();
        incr();
        for (const std::string& label : random.held) bring_back(random.backups.list(), label);
    }
    std::vector<std::string> labels() const {
        std::vector<std::string> labels;
        for (const auto& [label, entry] : left_) labels.push_back(label);
        return labels;
    }

private:
    using List = std::vector<const BackupEntry*>;  // oldest first

    List of(const std::string& letters, const std::string& prefix = "") const {
        List list;
        for (const auto& [label, entry] : left_)
            if (letters.find(label.back()) != std::string::npos && label.starts_with(prefix))
                list.push_back(entry);
        return list;
    }
    void remove(const std::string& label) {
        left_.erase(label);
        for (bool again = true; again;) {
            again = false;
            for (const auto& [each, entry] : left_)
                if (!entry->prior.empty() && !left_.contains(entry->prior)) {
                    left_.erase(each);
                    again = true;
                    break;
                }
        }
    }
    /// The newest that is too old stays; all before it are superfluous.
    List superfluous_by_days(const List& list, std::uint64_t days) const {
        const UnixTime limit = kNow - static_cast<UnixTime>(days) * kDay;
        List old;
        for (const BackupEntry* entry : list)
            if (entry->timestamp_stop < limit) old.push_back(entry);
        if (!old.empty()) old.pop_back();
        return old;
    }
    void full() {
        if (!retention_.full) return;
        const std::size_t floor = retention_.full_floor;
        if (retention_.full_unit == Unit::days) {
            for (const BackupEntry* entry : superfluous_by_days(of("F"), *retention_.full))
                if (of("F").size() > floor) remove(entry->label);
        } else {
            while (of("F").size() > std::max<std::size_t>(*retention_.full, floor))
                remove(of("F").front()->label);
        }
    }
    void diff() {
        if (!retention_.diff) return;
        if (retention_.diff_unit == Unit::days) {
            for (const BackupEntry* entry : superfluous_by_days(of("D"), *retention_.diff))
                remove(entry->label);
        } else if (retention_.diff_per_full) {
            for (const BackupEntry* base : of("F"))
                while (of("D", base->label).size() > *retention_.diff)
                    remove(of("D", base->label).front()->label);
        } else {
            List places = of("FD");
            while (places.size() > *retention_.diff) {
                if (places.front()->type == BackupType::diff) remove(places.front()->label);
                places.erase(places.begin());
            }
        }
    }
    void incr() {
        if (!retention_.incr) return;
        List excess = retention_.incr_unit == Unit::days
                          ? superfluous_by_days(of("I"), *retention_.incr)
                          : of("I");
        if (retention_.incr_unit == Unit::count)
            excess.resize(excess.size() - std::min<std::size_t>(excess.size(), *retention_.incr));
        for (; !excess.empty(); excess.pop_back()) {
            const std::string label = excess.back()->label;
            if (std::none_of(left_.begin(), left_.end(),
                             [&](const auto& other) { return other.second->prior == label; }))
                left_.erase(label);
        }
    }
    void bring_back(const std::vector<BackupEntry>& all, std::string label) {
        while (!label.empty()) {
            const auto found = std::find_if(all.begin(), all.end(), [&](const BackupEntry& entry) {
                return entry.label == label;
            });
            left_[label] = &*found;
            label = found->prior;
        }
    }

    const Retention& retention_;
    std::map<std::string, const BackupEntry*> left_;
};

std::vector<BackupEntry> remaining(const std::vector<BackupEntry>& all, const BackupPlan& plan) {
    std::vector<BackupEntry> left;
    for (const BackupEntry& entry : all)
        if (!plan.expired.contains(entry.label)) left.push_back(entry);
    return left;
}

TEST(Retention, AgreesWithAModelOnRandomLists) {
    for (unsigned seed = 1; seed <= 3000; ++seed) {
        SCOPED_TRACE(seed);
        Random random(seed);
        RandomCase one;
        random_case(random, one);
        const BackupPlan plan = plan_backups(one.backups.list(), one.retention, one.held, kNow);
        const auto left = remaining(one.backups.list(), plan);
        std::vector<std::string> labels;
        for (const BackupEntry& entry : left) labels.push_back(entry.label);
        ASSERT_EQ(labels, Model(one).labels());
        ASSERT_EQ(plan.kept.size() + plan.expired.size(), one.backups.list().size());
        for (const BackupEntry& entry : left)
            ASSERT_TRUE(entry.prior.empty() || plan.kept.contains(entry.prior)) << entry.label;
        ASSERT_THAT(plan_backups(left, one.retention, one.held, kNow).expired, testing::IsEmpty())
            << "a second run finds nothing more to do";
    }
}

TEST(Wal, OfNoRemainingBackupGoesOnRandomLists) {
    for (unsigned seed = 1; seed <= 1000; ++seed) {
        SCOPED_TRACE(seed);
        Random random(seed);
        RandomCase one;
        random_case(random, one);
        const BackupPlan plan = plan_backups(one.backups.list(), one.retention, one.held, kNow);
        const auto left = remaining(one.backups.list(), plan);
        WalRetention retention;
        retention.type = static_cast<BackupType>(random.below(3));
        retention.count = 1 + random.below(4);
        const WalPlan wal = plan_wal(left, cluster(1), true, retention, one.held);
        if (wal.action == WalPlan::Action::nothing) continue;
        ASSERT_EQ(wal.action, WalPlan::Action::remove_outside);
        // Whatever the ranges: what a backup needs is there, and from the retention backup on, all.
        std::vector<std::string> counted;
        for (const BackupEntry& entry : left)
            if (entry.type <= retention.type) counted.push_back(entry.archive_start);
        const std::string base = counted[counted.size() - *retention.count];
        for (unsigned number = 1; number < 1100; ++number) {
            const std::string segment = SyntheticStanza::segment(number);
            const bool needed =
                segment >= base ||
                std::any_of(left.begin(), left.end(), [&](const BackupEntry& entry) {
                    return segment >= entry.archive_start && segment <= entry.archive_stop;
                });
            ASSERT_EQ(file_outside(wal, segment), !needed) << segment << " base " << base;
            ASSERT_TRUE(!needed || !directory_outside(wal, segment.substr(0, 16)));
        }
    }
}

}  // namespace
}  // namespace chronos::ops::expire
