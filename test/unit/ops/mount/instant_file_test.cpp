// A file that is partly still in the backup is as durable as any other: what a sync was told to
// keep is there after the process has died and after the power has failed, at any moment, and
// nothing is there that nobody has written and the backup does not have.
#include "ops/mount/instant_file.h"

#include <fcntl.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "random_bytes.h"
#include "result_matchers.h"
#include "simulated_file.h"
#include "temporary_directory.h"

namespace chronos::ops::mount {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kFilePage = Presence::kPage;
constexpr std::uint64_t kFileId = 4711;

/// A file of a backup on a disk, and the process that serves it.
class Served {
public:
    SimulatedDisk disk;
    std::string backup;
    std::vector<ByteRange> fetched;
    std::function<void()> meanwhile;  ///< before a fetch arrives
    int error = 0;                    ///< of fetching
    std::unique_ptr<PresenceTable> table;
    std::unique_ptr<InstantFile> file;

    explicit Served(std::string content) : backup(std::move(content)) {
        disk.files.emplace("data", History(std::string(backup.size(), '\0')));
        disk.files.emplace("table", History(""));
        table =
            *PresenceTable::make(std::make_unique<SimulatedFile>(disk, "table"), kFileId, files());
        start();
    }
    /// What is left on the disk of another one.
    Served(const Served& other, bool power_failure, std::mt19937_64& random)
        : disk(other.disk.after(power_failure, random)), backup(other.backup) {
        restart();
    }

    void crash(bool power_failure, std::mt19937_64& random) {
        file.reset();
        table.reset();
        auto step = std::move(disk.at_each_step);
        disk = disk.after(power_failure, random);
        restart();
        disk.at_each_step = std::move(step);
    }
    std::string all() {
        std::string content;
        EXPECT_EQ(file->read(0, SIZE_MAX / 2, {}, content), 0);
        return content;
    }
    /// All that a hydration does, at once.
    void complete() {
        for (bool all_there = false; !all_there;)
            ASSERT_EQ(file->complete_some({0, UINT64_MAX}, fetch(), {}, all_there), 0);
        const InstantFile::Due due = file->due();
        ASSERT_EQ(SimulatedFile(disk, "data").sync(), 0);
        ASSERT_EQ(file->store(due), 0);
        ASSERT_EQ(table->sync(), 0);
    }
    InstantFile::Fetch fetch() {
        return [this](std::uint64_t offset, std::size_t size, const fuse::Interrupted&,
                      std::string& out) {
            EXPECT_LE(offset + size, backup.size());
            fetched.push_back({offset, offset + size});
            if (meanwhile) meanwhile();
            if (error != 0) return error;
            out = backup.substr(offset, size);
            return 0;
        };
    }

private:
    std::vector<PresenceTable::File> files() const { return {{3, 40}, {7, backup.size()}, {8, 0}}; }
    void start() {
        file = std::make_unique<InstantFile>(
            [this](std::shared_ptr<LowerFile>& opened) {
                opened = std::make_shared<SimulatedFile>(disk, "data");
                return 0;
            },
            disk.files.at("data").now().size(), *table, 1, fetch());
        const auto resumed = file->resume();
        EXPECT_TRUE(resumed) << resumed.error().text();
    }
    void restart() {
        auto opened =
            PresenceTable::open(std::make_unique<SimulatedFile>(disk, "table"), kFileId, files());
        ASSERT_OK(opened);
        table = *std::move(opened);
        start();
    }
};

TEST(InstantFile, IsWhatTheBackupHasAndFetchesThatOnceForAllStarts) {
    std::mt19937_64 random(test_seed());
    const std::string content = random_bytes(3 * kFilePage + 100);
    Served served(content);
    std::string part;
    ASSERT_EQ(served.file->read(kFilePage + 1, 2, {}, part), 0);
    EXPECT_EQ(part, content.substr(kFilePage + 1, 2));
    EXPECT_THAT(served.fetched, ElementsAre(ByteRange{kFilePage, 2 * kFilePage}));
    served.complete();
    EXPECT_TRUE(served.file->settled());
    served.fetched.clear();
    served.crash(/*power_failure=*/true, random);
    EXPECT_EQ(served.all(), content);
    EXPECT_THAT(served.fetched, IsEmpty());
    EXPECT_TRUE(served.file->settled());
}

// A server syncs each file at its start: of one that it has only read that would be a sync of what
// can be fetched again.
TEST(InstantFile, ASyncOfWhatNobodyHasWrittenCostsNothing) {
    Served served(random_bytes(2 * kFilePage));
    EXPECT_EQ(served.all(), served.backup);
    int steps = 0;
    served.disk.at_each_step = [&] { ++steps; };
    EXPECT_EQ(served.file->sync(), 0);
    EXPECT_EQ(steps, 0);
}

TEST(InstantFile, WhatIsSyncedIsThereAndTheRestIsAsItWas) {
    std::mt19937_64 random(test_seed());
    std::string content = random_bytes(4 * kFilePage);
    Served served(content);
    const std::string page(kFilePage, 'w');
    ASSERT_EQ(served.file->write(kFilePage, page, {}), 0);
    ASSERT_EQ(served.file->sync(), 0);
    EXPECT_THAT(served.fetched, IsEmpty());
    ASSERT_EQ(served.file->write(2 * kFilePage, page, {}), 0);
    served.crash(/*power_failure=*/false, random);
    content.replace(kFilePage, kFilePage, page);
    EXPECT_EQ(served.all(), content);
}

TEST(InstantFile, WhatWasCutOffIsNeverOfTheBackupAgain) {
    std::mt19937_64 random(test_seed());
    for (const bool power_failure : {false, true}) {
        std::string content = random_bytes(4 * kFilePage);
        Served served(content);
        ASSERT_EQ(served.file->resize(kFilePage + 10), 0);
        ASSERT_EQ(served.file->resize(3 * kFilePage), 0);
        ASSERT_EQ(served.file->sync(), 0);
        served.crash(power_failure, random);
        content.resize(kFilePage + 10);
        content.resize(3 * kFilePage);
        EXPECT_EQ(served.all(), content);
    }
}

// Whoever stores for many syncs the table for all of them later: until then it is as if it had not
// been stored.
TEST(InstantFile, WhatIsStoredAndNotSyncedCountsForNothing) {
    std::mt19937_64 random(test_seed());
    std::string content = random_bytes(4 * kFilePage);
    Served served(content);
    EXPECT_EQ(served.all(), content);
    const InstantFile::Due due = served.file->due();
    ASSERT_EQ(SimulatedFile(served.disk, "data").sync(), 0);
    ASSERT_EQ(served.file->store(due), 0);
    EXPECT_FALSE(served.file->settled());
    ASSERT_EQ(served.file->resize(kFilePage), 0);
    ASSERT_EQ(served.file->resize(3 * kFilePage), 0);
    ASSERT_EQ(served.file->sync(), 0);
    content.resize(kFilePage);
    content.resize(3 * kFilePage);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(Served(served, true, random).all(), content);
    EXPECT_TRUE(served.file->settled());
}

// A server's sync is about what it has written, whoever has stored the bits of that.
TEST(InstantFile, ASyncCoversWhatSomebodyElseHasStored) {
    std::mt19937_64 random(test_seed());
    std::string content = random_bytes(2 * kFilePage);
    Served served(content);
    ASSERT_EQ(served.file->write(0, std::string(kFilePage, 'w'), {}), 0);
    content.replace(0, kFilePage, kFilePage, 'w');
    const InstantFile::Due due = served.file->due();
    ASSERT_EQ(SimulatedFile(served.disk, "data").sync(), 0);
    ASSERT_EQ(served.file->store(due), 0);
    ASSERT_EQ(served.file->sync(), 0);
    for (int i = 0; i < 20; ++i) EXPECT_EQ(Served(served, true, random).all(), content);
}

// Somebody stores what has come before, while the file is cut off: that is still to be done.
TEST(InstantFile, ACutIsNotForgottenForWhatWasDueBefore) {
    std::mt19937_64 random(test_seed());
    const std::string content = random_bytes(4 * kFilePage);
    Served served(content);
    std::string part;
    ASSERT_EQ(served.file->read(0, kFilePage, {}, part), 0);
    const InstantFile::Due due = served.file->due();
    ASSERT_EQ(SimulatedFile(served.disk, "data").sync(), 0);
    ASSERT_EQ(served.file->resize(2 * kFilePage), 0);
    ASSERT_EQ(served.file->store(due), 0);
    ASSERT_EQ(served.table->sync(), 0);
    for (int i = 0; i < 20; ++i)
        EXPECT_EQ(Served(served, true, random).all(), content.substr(0, 2 * kFilePage));
}

TEST(InstantFile, WhatIsWrittenAgainIsNotNotedAgain) {
    Served served(random_bytes(2 * kFilePage));
    ASSERT_EQ(served.file->write(0, std::string(kFilePage, 'a'), {}), 0);
    ASSERT_EQ(served.file->sync(), 0);
    ASSERT_EQ(served.file->write(0, std::string(kFilePage, 'b'), {}), 0);
    int steps = 0;
    served.disk.at_each_step = [&] { ++steps; };
    ASSERT_EQ(served.file->sync(), 0);
    EXPECT_EQ(steps, 1);  // the file
}

// A server since 16 extends relations so: what was cut off there, and what the backup has beyond,
// is not in them, and a disk without room says so before anything is written.
TEST(InstantFile, RoomThatIsMadeIsZerosOrWhatTheBackupHas) {
    std::mt19937_64 random(test_seed());
    for (const bool power_failure : {false, true}) {
        std::string content = random_bytes(4 * kFilePage);
        Served served(content);
        ASSERT_EQ(served.file->resize(2 * kFilePage), 0);
        ASSERT_EQ(served.file->allocate(kFilePage, 4 * kFilePage, /*keep_size=*/false), 0);
        ASSERT_EQ(served.file->allocate(5 * kFilePage, kFilePage, /*keep_size=*/true), 0);
        EXPECT_EQ(served.file->size_bytes(), 5 * kFilePage);
        served.disk.full = true;
        EXPECT_EQ(served.file->allocate(5 * kFilePage, kFilePage, /*keep_size=*/false), ENOSPC);
        served.disk.full = false;
        ASSERT_EQ(served.file->sync(), 0);
        EXPECT_THAT(served.fetched, IsEmpty());
        served.crash(power_failure, random);
        content.resize(2 * kFilePage);
        content.resize(5 * kFilePage);
        EXPECT_EQ(served.all(), content);
    }
}

// What another process had begun: the limit is lower already, and the file is not cut off.
TEST(InstantFile, ACutThatWasBegunIsDone) {
    std::mt19937_64 random(test_seed());
    const std::string content = random_bytes(4 * kFilePage);
    Served served(content);
    std::optional<SimulatedDisk> before;
    served.disk.at_each_step = [&] {
        if (served.disk.files.at("data").now().size() == content.size())
            before = served.disk.after(false, random);
    };
    ASSERT_EQ(served.file->resize(kFilePage + 10), 0);
    ASSERT_TRUE(before.has_value());
    served.disk = *before;
    served.crash(false, random);
    EXPECT_EQ(served.all(), content.substr(0, kFilePage + 10));
}

TEST(InstantFile, AFailedSyncIsAnErrorUntilTheNextStart) {
    std::mt19937_64 random(test_seed());
    Served served(random_bytes(2 * kFilePage));
    std::string content;
    ASSERT_EQ(served.file->write(0, std::string(kFilePage, 'x'), {}), 0);
    served.disk.error = EIO;
    EXPECT_EQ(served.file->sync(), EIO);
    EXPECT_EQ(served.file->sync(), EIO);
    EXPECT_EQ(served.file->read(0, 1, {}, content), EIO);
    EXPECT_EQ(served.file->write(0, "a", {}), EIO);
    EXPECT_EQ(served.file->resize(0), EIO);
    served.crash(true, random);
    EXPECT_EQ(served.all(), served.backup);
}

TEST(InstantFile, AFullDiskKeepsNobodyFromReading) {
    Served served(random_bytes(8 * kFilePage + 100));
    ASSERT_EQ(served.file->write(2 * kFilePage, std::string(kFilePage, 'w'), {}), 0);
    std::string expected = served.backup;
    expected.replace(2 * kFilePage, kFilePage, kFilePage, 'w');
    served.disk.full = true;
    EXPECT_EQ(served.all(), expected);
    EXPECT_EQ(served.all(), expected);
    std::string content;
    ASSERT_EQ(served.file->read(kFilePage + 5, 2 * kFilePage, {}, content), 0);
    EXPECT_EQ(content, expected.substr(kFilePage + 5, 2 * kFilePage));
    EXPECT_EQ(served.file->write(0, std::string(kFilePage, 'x'), {}), ENOSPC);
    EXPECT_EQ(served.file->read(0, 1, {}, content), EIO);
}

// The last of a disk is for what the server writes.
TEST(InstantFile, WhatIsOnlyReadIsNotKeptWhereThereIsLittleRoom) {
    Served served(random_bytes(8 * kFilePage + 100));
    bool has_room = false;
    served.file->keep_while([&] { return has_room; });
    int steps = 0;
    served.disk.at_each_step = [&] { ++steps; };
    EXPECT_EQ(served.all(), served.backup);
    EXPECT_EQ(served.all(), served.backup);
    EXPECT_EQ(steps, 0);
    EXPECT_EQ(served.file->missing_bytes(), 9 * kFilePage);
    ASSERT_EQ(served.file->write(10, "w", {}), 0);
    std::string expected = served.backup;
    expected.replace(10, 1, "w");
    EXPECT_EQ(served.all(), expected);
    has_room = true;
    EXPECT_EQ(served.all(), expected);
    EXPECT_EQ(served.file->missing_bytes(), 0U);
}

// The kernel has told the server that it is written: with what was there before nobody goes on.
TEST(InstantFile, APageThatCannotBeFetchedForAWriteIsAnErrorFromThenOn) {
    Served served(random_bytes(2 * kFilePage));
    std::string content;
    served.error = EIO;
    EXPECT_EQ(served.file->read(0, 10, {}, content), EIO);
    served.error = 0;
    EXPECT_EQ(served.file->read(0, 10, {}, content), 0);
    served.error = EIO;
    EXPECT_EQ(served.file->write(kFilePage + 5, "x", {}), EIO);
    served.error = 0;
    EXPECT_EQ(served.file->read(kFilePage, 10, {}, content), EIO);
    EXPECT_EQ(served.file->sync(), EIO);
}

TEST(InstantFile, ALargeFileHasSeveralSectors) {
    std::mt19937_64 random(test_seed());
    const std::uint64_t pages = 2 * PresenceTable::kPages + 5;
    Served served(random_bytes(pages * kFilePage));
    std::string content = served.backup;
    for (const std::uint64_t page : {std::uint64_t{0}, PresenceTable::kPages - 1,
                                     PresenceTable::kPages, 2 * PresenceTable::kPages, pages - 1}) {
        ASSERT_EQ(served.file->write(page * kFilePage, std::string(kFilePage, 'p'), {}), 0);
        content.replace(page * kFilePage, kFilePage, kFilePage, 'p');
    }
    ASSERT_EQ(served.file->sync(), 0);
    served.crash(true, random);
    EXPECT_EQ(served.file->missing_bytes(), (pages - 5) * kFilePage);
    EXPECT_TRUE(served.all() == content);
    served.complete();
    EXPECT_TRUE(served.file->settled());
}

TEST(InstantFile, ADamagedTableIsAnErrorAndNotAnEmptyOne) {
    const std::string content = random_bytes(2 * kFilePage);
    Served served(content);
    const std::vector<PresenceTable::File> files{{3, 40}, {7, content.size()}, {8, 0}};
    const auto open = [&](std::uint64_t id, const std::vector<PresenceTable::File>& of) {
        return PresenceTable::open(std::make_unique<SimulatedFile>(served.disk, "table"), id, of);
    };
    EXPECT_ERROR(ErrorKind::format, open(kFileId + 1, files));
    EXPECT_ERROR(ErrorKind::format, open(kFileId, {{3, 41}, {7, content.size()}, {8, 0}}));
    History& history = served.disk.files.at("table");
    const std::string before = history.now();
    for (const std::size_t at : {2 * PresenceTable::kSector, 2 * PresenceTable::kSector + 100}) {
        history.write(at, std::string(1, static_cast<char>(before[at] ^ 1)));
        const auto table = open(kFileId, files);
        ASSERT_OK(table);
        EXPECT_OK((*table)->load(0));
        EXPECT_ERROR(ErrorKind::format, (*table)->load(1));
        history.write(0, before);
    }
    // A sector in the place of another one.
    history.write(2 * PresenceTable::kSector,
                  before.substr(PresenceTable::kSector, PresenceTable::kSector));
    EXPECT_ERROR(ErrorKind::format, (*open(kFileId, files))->load(1));
    history.resize(3 * PresenceTable::kSector);
    EXPECT_ERROR(ErrorKind::format, open(kFileId, files));
}

/// Does to a file and to an array of bytes the same things, some of them while the file waits for
/// what it fetches, and looks at any moment what a crash would leave.
class DurableModel {
public:
    explicit DurableModel(std::uint64_t seed)
        : random_(seed),
          served_(random_bytes(number(14 * kFilePage), seed)),
          expected_(served_.backup) {
        expected_.tear_at(served_.backup.size());
        served_.disk.at_each_step = [this] {
            if (number(6) == 0) check_crash();
        };
        served_.meanwhile = [this] {
            const unsigned count = depth_ < 3 ? static_cast<unsigned>(number(3)) : 0;
            ++depth_;
            for (unsigned i = 0; i < count && !testing::Test::HasFatalFailure(); ++i) step();
            --depth_;
        };
    }

    void step() {
        switch (number(19)) {
            case 0:
            case 1:
            case 2: read(); break;
            case 3:
            case 4:
            case 5: write(); break;
            case 6:
            case 7: resize(); break;
            case 8: keep(); break;
            case 9:
            case 10: sync(); break;
            case 11: served_.file->rest(); break;
            case 12: complete_some(); break;
            case 13: check_crash(); break;
            case 14: allocate(); break;
            case 15:
            case 16: lay(); break;
            default: note(); break;
        }
        // What is on its way is written into what is there by now.
        for (const auto& [offset, content] : on_its_way_) expected_.may_write(offset, content);
    }
    void crash() {
        noting_ = 0;
        laid_to_ = 0;
        served_.crash(/*power_failure=*/number(2) == 0, random_);
        Served looked(served_, false, random_);
        const std::string left = looked.all();
        ASSERT_EQ(expected_.objection(left), "");
        // As durable as it is now.
        expected_.start_again(left);
    }
    void check_all() {
        ASSERT_TRUE(served_.all() == expected_.now());
        ASSERT_EQ(served_.file->size_bytes(), expected_.now().size());
    }

private:
    std::uint64_t number(std::uint64_t below) { return below == 0 ? 0 : random_() % below; }
    /// Often where pages begin and end.
    std::uint64_t place() {
        const std::uint64_t at = number(expected_.now().size() + 2 * kFilePage);
        switch (number(3)) {
            case 0: return at / kFilePage * kFilePage;
            case 1: return at / kFilePage * kFilePage + number(2) * (kFilePage - 1);
            default: return at;
        }
    }
    void read() {
        const std::uint64_t offset = place();
        const std::size_t size = number(5 * kFilePage);
        std::string content;
        // Nothing else is done meanwhile: what is written on a full disk is lost.
        const unsigned depth = depth_;
        served_.disk.full = number(5) == 0;
        if (served_.disk.full) depth_ = 3;
        const int error = served_.file->read(offset, size, {}, content);
        served_.disk.full = false;
        depth_ = depth;
        ASSERT_EQ(error, 0);
        const std::string& now = expected_.now();
        ASSERT_TRUE(content == (offset < now.size() ? now.substr(offset, size) : ""))
            << "at " << offset << ", " << size << " bytes";
    }
    void write() {
        const std::uint64_t offset = place();
        const std::size_t size = number(2) == 0 ? number(4) * kFilePage : number(3 * kFilePage);
        const std::string content = random_bytes(size, random_());
        expected_.may_write(offset, content);
        on_its_way_.emplace_back(offset, content);
        ASSERT_EQ(served_.file->write(offset, content, {}), 0);
        on_its_way_.pop_back();
        // Now: what was done meanwhile came before.
        if (size > 0) expected_.write(offset, content);
    }
    void resize() {
        const std::uint64_t size = number(4) == 0 ? number(20 * kFilePage) : place();
        expected_.tear_at(size);
        expected_.may_resize(size);
        ASSERT_EQ(served_.file->resize(size), 0);
        expected_.resize(size);
    }
    void allocate() {
        const std::uint64_t offset = place(), size = 1 + number(4 * kFilePage);
        const bool keep_size = number(3) == 0;
        served_.disk.full = number(4) == 0;
        const bool is_longer =
            !served_.disk.full && !keep_size && offset + size > expected_.now().size();
        if (is_longer) expected_.may_resize(offset + size);
        EXPECT_EQ(served_.file->allocate(offset, size, keep_size), served_.disk.full ? ENOSPC : 0);
        served_.disk.full = false;
        if (is_longer) expected_.resize(offset + size);
    }
    /// Of the backup, late or early: what was written or cut off meanwhile stays.
    void keep() {
        const std::string_view content = served_.backup;
        const std::uint64_t offset = number(content.size());
        served_.file->keep({{offset, content.substr(offset, number(6 * kFilePage))}});
    }
    /// The next piece of all of the backup's, which is the file's behind the last one.
    void lay() {
        const std::string_view content = served_.backup;
        const std::size_t size = (1 + number(4)) * kFilePage;
        ASSERT_TRUE(served_.file->lay(laid_to_, content.substr(laid_to_, size)));
        laid_to_ += size;
        if (laid_to_ < content.size()) return;
        laid_to_ = 0;
        served_.file->laid();
        EXPECT_EQ(served_.file->missing_bytes(), 0);
    }
    void complete_some() {
        bool all = false;
        const std::uint64_t begin = number(served_.backup.size());
        const ByteRange range{begin, begin + number(20 * kFilePage)};
        ASSERT_EQ(served_.file->complete_some(range, served_.fetch(), {}, all), 0);
    }
    void sync() {
        ASSERT_EQ(served_.file->sync(), 0);
        expected_.sync();
    }
    /// What somebody else does who syncs the file system now and then.
    void note() {
        switch (noting_) {
            case 0: due_ = served_.file->due(); break;
            case 1: ASSERT_EQ(SimulatedFile(served_.disk, "data").sync(), 0); break;
            case 2: ASSERT_EQ(served_.file->store(due_), 0); break;
            default: ASSERT_EQ(served_.table->sync(), 0);
        }
        noting_ = (noting_ + 1) % 4;
        served_.file->settled();
    }
    void check_crash() {
        if (checking_) return;
        checking_ = true;
        const bool power_failure = number(3) != 0;
        Served left(served_, power_failure, random_);
        std::string found = left.all();
        EXPECT_EQ(expected_.objection(found), "");
        // And once more, before anything was synced.
        Served again(left, true, random_);
        EXPECT_TRUE(again.all() == found);
        checking_ = false;
    }

    std::mt19937_64 random_;
    Served served_;
    History expected_;
    std::vector<std::pair<std::uint64_t, std::string>> on_its_way_;
    InstantFile::Due due_;
    unsigned noting_ = 0;
    std::size_t laid_to_ = 0;
    unsigned depth_ = 0;
    bool checking_ = false;
};

TEST(InstantFile, IsAsDurableAsAFileWhateverIsDoneInWhichOrder) {
    const auto failed = [] { return testing::Test::HasFailure(); };
    for (std::uint64_t round = 0; round < 120 && !failed(); ++round) {
        SCOPED_TRACE("seed " + std::to_string(test_seed()) + ", round " + std::to_string(round));
        DurableModel model(test_seed() + round);
        for (int i = 0; i < 60 && !failed(); ++i) {
            model.step();
            if (i % 20 == 13) model.crash();
            if (i % 30 == 29) model.check_all();
        }
    }
}

// Each thread has pages of its own, which it writes, reads and syncs, while all of the file is
// fetched by one and noted by another one; the next process finds it all.
TEST(InstantFile, ThreadsFindWhatTheyHaveWrittenAndSoDoesTheNextProcess) {
    constexpr std::uint64_t kThreads = 4, kPages = 64;
    const test::TemporaryDirectory directory;
    const std::string content = random_bytes(kPages * kFilePage);
    const auto open = [&](const std::string& name) {
        return std::make_unique<MachineFile>(
            os::FileDescriptor(
                ::open((directory / name).c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600)),
            name);
    };
    ASSERT_EQ(open("data")->resize(content.size()), 0);
    const InstantFile::Fetch fetch = [&](std::uint64_t offset, std::size_t size,
                                         const fuse::Interrupted&, std::string& out) {
        std::this_thread::yield();
        out = content.substr(offset, size);
        return 0;
    };
    const InstantFile::Open open_data = [&](std::shared_ptr<LowerFile>& file) {
        file = open("data");
        return 0;
    };
    const std::vector<PresenceTable::File> files{{1, content.size()}};
    auto table = *PresenceTable::make(open("table"), kFileId, files);
    auto file = std::make_unique<InstantFile>(open_data, content.size(), *table, 0, fetch);
    ASSERT_OK(file->resume());
    std::string expected = content;
    std::atomic<bool> wrong{false}, done{false};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < kThreads; ++t)
        threads.emplace_back([&, t] {
            std::mt19937_64 random(test_seed() + t);
            std::string part;
            for (int i = 0; i < 100; ++i) {
                const std::uint64_t page =
                    (random() % (kPages / kThreads) * kThreads + t) * kFilePage;
                const std::uint64_t at = page + random() % 2 * 100;
                const std::string written(random() % 2 == 0 ? page + kFilePage - at : 50,
                                          static_cast<char>('a' + i % 26));
                // No two threads have a page in common.
                std::copy(written.begin(), written.end(),
                          expected.begin() + static_cast<std::ptrdiff_t>(at));
                if (file->write(at, written, {}) != 0) wrong = true;
                if (file->read(page, kFilePage, {}, part) != 0 ||
                    !std::equal(part.begin(), part.end(),
                                expected.begin() + static_cast<std::ptrdiff_t>(page)))
                    wrong = true;
                if (i % 20 == 0 && file->sync() != 0) wrong = true;
                if (i % 30 == 0) file->rest();
            }
        });
    std::thread noting([&] {
        while (!done) {
            const InstantFile::Due due = file->due();
            if (open("data")->sync() != 0 || file->store(due) != 0 || table->sync() != 0)
                wrong = true;
            file->settled();
        }
    });
    for (bool all = false; !all;)
        if (file->complete_some({0, UINT64_MAX}, fetch, {}, all) != 0) wrong = true;
    for (std::thread& thread : threads) thread.join();
    done = true;
    noting.join();
    EXPECT_EQ(file->sync(), 0);
    EXPECT_FALSE(wrong) << "seed " << test_seed();
    file = nullptr;
    table = *PresenceTable::open(open("table"), kFileId, files);
    file = std::make_unique<InstantFile>(open_data, content.size(), *table, 0, nullptr);
    ASSERT_OK(file->resume());
    std::string found;
    ASSERT_EQ(file->read(0, content.size(), {}, found), 0);
    EXPECT_TRUE(found == expected);
}

}  // namespace
}  // namespace chronos::ops::mount
