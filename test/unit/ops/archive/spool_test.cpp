#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <thread>

#include "archive_fixture.h"
#include "chronos/ops/archive/spool.h"
#include "chronos/pgdata/wal.h"
#include "chronos/storage/forwarding.h"

namespace chronos::ops::archive {
namespace {

namespace fs = std::filesystem;

/// What is served in place of the archive must be what the archive would serve.
class ArchiveSpool : public ArchiveTest {
protected:
    void SetUp() override {
        ArchiveTest::SetUp();
        add_repository();
        fs::create_directories(pg_path() + "/pg_wal");
    }

    repo::SpoolPlace place() const { return {directory_ / "spool", kStanza, pg_path()}; }
    Spool spool(std::uint64_t segment_count = 4) const {
        const auto control = pgdata::read_control_file(pg_path());
        return *Spool::of(place(), *control, segment_count * kSegmentSize);
    }
    void push_range(unsigned first, unsigned last) {
        for (unsigned number = first; number <= last; ++number)
            ASSERT_OK(push(segment(number), make_segment(number)));
    }
    void fetch(const Spool& into, unsigned after, unsigned threads = 2) {
        fetch_ahead(get_settings(), into, segment(after), threads, [] { return true; });
    }
    static std::vector<std::string> content(const Spool& of) {
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(of.directory()))
            if (entry.path().filename() != "lock") names.push_back(entry.path().filename());
        std::sort(names.begin(), names.end());
        return names;
    }
    bool take(const Spool& from, unsigned number) {
        return from.take(segment(number), destination(), cancel_);
    }

    Cancellation cancel_;
};

using Names = std::vector<std::string>;

/// Far away: counts what it is asked.
class FarStorage final : public storage::ForwardingStorage {
public:
    using ForwardingStorage::ForwardingStorage;
    storage::Features features() const override {
        storage::Features features = next_.features();
        features.remote = true;
        return features;
    }
    Result<std::unique_ptr<io::Source>> open(const storage::ObjectName& name,
                                             storage::Range range) override {
        ++questions;
        return next_.open(name, range);
    }
    Result<std::optional<storage::Entry>> info(const storage::ObjectName& name) override {
        ++questions;
        return next_.info(name);
    }
    Result<std::vector<storage::Entry>> list(const storage::ObjectName& directory,
                                             const std::string& prefix) override {
        ++questions;
        return next_.list(directory, prefix);
    }
    std::atomic<unsigned> questions{0};
};

TEST_F(ArchiveSpool, HoldsTheFollowingSegmentsUpToItsBound) {
    push_range(3, 10);
    const Spool own = spool();
    const auto lock = own.lock();
    ASSERT_OK(lock);
    fetch(own, 3);
    EXPECT_EQ(content(own), (Names{segment(4), segment(5), segment(6), segment(7)}));
    EXPECT_FALSE(own.is_low(segment(3)));
    fetch(own, 3);
    EXPECT_EQ(content(own).size(), 4);
    ASSERT_TRUE(take(own, 4));
    EXPECT_TRUE(read_file(destination()) == make_segment(4));
    EXPECT_FALSE(own.is_low(segment(4))) << "three of four are left";
    ASSERT_TRUE(take(own, 5));
    EXPECT_TRUE(own.is_low(segment(5)));
    EXPECT_EQ(content(own), (Names{segment(6), segment(7)})) << "what was taken is there no more";
    EXPECT_FALSE(take(own, 5));
}

TEST_F(ArchiveSpool, RemembersWhatWasAskedForLast) {
    const Spool own = spool();
    EXPECT_FALSE(own.last_asked());
    ASSERT_OK(own.note_asked(segment(3)));
    ASSERT_OK(own.note_asked(segment(4)));
    const auto asked = own.last_asked();
    ASSERT_TRUE(asked);
    EXPECT_EQ(asked->segment, segment(4));
    EXPECT_GT(asked->at.count(), 0);
    EXPECT_TRUE(own.is_next(segment(4), segment(5)));
    EXPECT_FALSE(own.is_next(segment(4), segment(6)));
    const auto lock = own.lock();
    own.clean("");
    EXPECT_TRUE(own.last_asked()) << "it is no segment";
}

TEST_F(ArchiveSpool, AGarbledNoteOfWhatWasAskedForIsNone) {
    const Spool own = spool();
    ASSERT_OK(own.note_asked("../../etc/passwd"));
    EXPECT_FALSE(own.last_asked());
}

TEST_F(ArchiveSpool, TheNoteOfWhatWasAskedForIsThereAtEveryMoment) {
    const Spool own = spool();
    ASSERT_OK(own.note_asked(segment(1)));
    std::atomic<bool> done = false;
    std::thread writer([&] {
        for (unsigned number = 2; number < 2000; ++number)
            ASSERT_OK(own.note_asked(segment(number)));
        done = true;
    });
    int missing = 0;
    while (!done) missing += own.last_asked() ? 0 : 1;
    writer.join();
    EXPECT_EQ(missing, 0);
}

/// Somebody who asks for one segment after the other, and the process that fetches for him.
class ArchiveReader : public ArchiveSpool {
protected:
    void SetUp() override {
        ArchiveSpool::SetUp();
        push_range(3, 20);
        spool_ = spool();
        ASSERT_OK(spool_->note_asked(segment(3)));
    }
    /// A test that failed half-way has not waited for its fetcher, which serves until the reader is
    /// elsewhere.
    void TearDown() override {
        if (fetcher_.joinable()) {
            EXPECT_OK(spool_->note_asked(segment(99)));
            fetcher_.join();
        }
        ArchiveSpool::TearDown();
    }
    void start(std::chrono::milliseconds patience) {
        fetcher_ = std::thread([this, patience] {
            const auto lock = spool_->lock();
            ASSERT_OK(lock);
            fetch_for_reader(get_settings(), *spool_, segment(3), 2, patience, (*lock)->get());
            ended_ = true;
        });
    }
    void wait_for(const std::function<bool()>& condition) {
        const Deadline deadline(std::chrono::seconds(60));
        while (!condition() && !deadline.passed())
            std::this_thread::sleep_for(std::chrono::milliseconds(2));
        ASSERT_TRUE(condition());
    }
    void wait_for_segment(unsigned number) {
        wait_for([&] { return fs::exists(spool_->path(segment(number))); });
    }
    bool nothing_is_left() const {
        const Names names = content(*spool_);
        return std::ranges::none_of(
            names, [](const std::string& name) { return pgdata::is_wal_segment(name); });
    }

    std::optional<Spool> spool_;
    std::thread fetcher_;
    std::atomic<bool> ended_ = false;
};

TEST_F(ArchiveReader, IsServedUntilHeAsksNoMore) {
    start(std::chrono::seconds(3));
    for (unsigned number = 4; number <= 12; ++number) {
        wait_for_segment(number);
        ASSERT_TRUE(take(*spool_, number));
        EXPECT_TRUE(read_file(destination()) == make_segment(number));
        ASSERT_OK(spool_->note_asked(segment(number)));
    }
    EXPECT_FALSE(ended_);
    fetcher_.join();
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(ArchiveReader, WhoGoesElsewhereIsServedNoMore) {
    start(std::chrono::minutes(10));
    wait_for_segment(7);
    EXPECT_FALSE(fs::exists(spool_->path(segment(8)))) << "more than may wait";
    ASSERT_OK(spool_->note_asked(segment(15)));
    fetcher_.join();
    EXPECT_TRUE(nothing_is_left());
}

TEST_F(ArchiveReader, ASpoolThatWasMadeAgainIsNotEmptied) {
    start(std::chrono::minutes(10));
    wait_for_segment(7);
    // In one step: what is removed file by file, the fetcher fills again meanwhile.
    fs::rename(spool_->directory(), spool_->directory() + ".former");
    const auto lock = spool_->lock();
    ASSERT_OK(lock);
    write_file(spool_->path(segment(4)), make_segment(4));
    ASSERT_OK(spool_->note_asked(segment(15)));
    fetcher_.join();
    EXPECT_TRUE(fs::exists(spool_->path(segment(4))));
}

TEST_F(ArchiveSpool, IsOffWhenItCannotHoldASegment) {
    EXPECT_FALSE(spool(0).enabled());
    EXPECT_TRUE(spool(1).enabled());
}

TEST_F(ArchiveSpool, FetchingEndsAtTheFirstMissingSegment) {
    push_range(4, 5);
    push_range(7, 20);
    const Spool own = spool(17);
    const auto lock = own.lock();
    fetch(own, 3, 1);
    // What was under way then may have come too.
    EXPECT_TRUE(fs::exists(own.path(segment(4))));
    EXPECT_TRUE(fs::exists(own.path(segment(5))));
    EXPECT_FALSE(fs::exists(own.path(segment(20))));
}

// From far away a segment is one question, and one that is not there is none.
TEST_F(ArchiveSpool, FetchingFromFarAwayAsksOnceForWhatAllSegmentsHaveInCommon) {
    push_range(4, 6);
    const Spool own = spool(8);
    const auto lock = own.lock();
    GetSettings settings = get_settings();
    const auto far = std::make_shared<FarStorage>(settings.repositories.at(0).storage);
    settings.repositories.at(0).storage = far;
    fetch_ahead(settings, own, segment(3), 2, [] { return true; });
    EXPECT_EQ(content(own), (Names{segment(4), segment(5), segment(6)}));
    EXPECT_EQ(far->questions, 5u);  // archive.info, the directory, and three segments
}

// A standby waits for one segment for hours, and asks for it every few seconds: each time the store
// is asked, and no more than that.
TEST_F(ArchiveSpool, AStandbyThatWaitsAsksForWhatMayHaveArrived) {
    push_range(3, 4);
    write_file(pg_path() + "/standby.signal", "");
    const Spool own = spool();
    GetSettings settings = get_settings();
    const auto far = std::make_shared<FarStorage>(settings.repositories.at(0).storage);
    settings.repositories.at(0).storage = far;
    settings.answered = &own;
    const auto asked_for = [&](const std::string& name) {
        far->questions = 0;
        return *get_wal_patiently(settings, name, destination(), std::chrono::milliseconds(0),
                                  cancel_);
    };
    for (const std::string& name : {segment(5), std::string("00000002.history")}) {
        EXPECT_EQ(asked_for(name), GetOutcome::missing);
        EXPECT_GT(far->questions, 4u) << "what that means is looked into: " << name;
        EXPECT_EQ(asked_for(name), GetOutcome::missing);
        EXPECT_EQ(far->questions, 2u) << "archive.info, and whether it is there: " << name;
    }
    own.clear();
    EXPECT_EQ(asked_for(segment(5)), GetOutcome::missing);
    EXPECT_EQ(far->questions, 2u) << "a history file that was asked for makes no difference";
    push_range(5, 5);
    EXPECT_EQ(asked_for(segment(5)), GetOutcome::found);
    EXPECT_EQ(asked_for(segment(6)), GetOutcome::missing);
    EXPECT_GT(far->questions, 4u) << "of another one nothing is known";
    // A directory may be a mount that went away.
    settings.repositories.at(0).storage = get_settings().repositories.at(0).storage;
    EXPECT_EQ(asked_for(segment(6)), GetOutcome::missing);
    for (const char* suffix : {"", ".copy"})
        ASSERT_OK(settings.repositories.at(0).storage->remove("archive/" + std::string(kStanza) +
                                                              "/archive.info" + suffix));
    EXPECT_FALSE(get_wal_patiently(settings, segment(6), destination(),
                                   std::chrono::milliseconds(0), cancel_));
}

TEST_F(ArchiveSpool, AnAnswerIsKeptForAMinuteAtMost) {
    const Spool own = spool();
    EXPECT_FALSE(own.was_answered(segment(5)));
    own.note_answered(segment(5));
    EXPECT_TRUE(own.was_answered(segment(5)));
    EXPECT_FALSE(own.was_answered(segment(6)));
    const std::string note = own.path("answered-" + segment(5));
    const auto now_ms = std::stoll(read_file(note));
    for (const long long at : {now_ms - 60'001, now_ms + 60'000}) {
        write_file(note, std::to_string(at));
        EXPECT_FALSE(own.was_answered(segment(5))) << at - now_ms;
    }
    for (const char* text : {"", "soon", "-5"}) {
        write_file(note, text);
        EXPECT_FALSE(own.was_answered(segment(5))) << text;
    }
    const auto lock = own.lock();
    own.clean("");
    EXPECT_FALSE(fs::exists(note)) << "and goes when it is of no more use";
}

TEST_F(ArchiveSpool, ASegmentThatNobodyWantsAnyMoreIsNotReadToItsEnd) {
    // Of which something is stored.
    ASSERT_OK(push(segment(4), make_segment(4).substr(0, 8192) +
                                   random_bytes(kSegmentSize - 8192, test_seed())));
    const Spool own = spool();
    const auto lock = own.lock();
    GetSettings settings = get_settings();
    for (repo::Repository& repository : settings.repositories)
        repository.storage = std::make_shared<FarStorage>(repository.storage);
    std::atomic<int> calls = 0;
    fetch_ahead(settings, own, segment(3), 1, [&] { return ++calls <= 1; });
    EXPECT_EQ(content(own), Names{});
}

TEST_F(ArchiveSpool, DamagedSegmentDoesNotGetIn) {
    push_range(4, 5);
    const std::string object = stored_path(1, stored(1).back());
    std::string damaged = read_file(object);
    damaged[damaged.size() / 2] ^= 1;
    write_file(object, damaged);
    const Spool own = spool();
    const auto lock = own.lock();
    fetch(own, 3);
    EXPECT_EQ(content(own), (Names{segment(4)}));
}

TEST_F(ArchiveSpool, FetchingEndsWhenToldAndWhenTheRepositoryIsAway) {
    push_range(4, 7);
    const Spool own = spool();
    const auto lock = own.lock();
    std::atomic<int> calls = 0;
    fetch_ahead(get_settings(), own, segment(3), 1, [&] { return ++calls <= 2; });
    EXPECT_EQ(content(own), (Names{segment(4), segment(5)}));
    mount(1).away = true;
    fetch(own, 3);
    EXPECT_EQ(content(own), (Names{segment(4), segment(5)}));
}

TEST_F(ArchiveSpool, PartialFileIsNeitherServedNorWaitedForWhenItsWriterIsDead) {
    const Spool own = spool();
    {
        const auto lock = own.lock();
        ASSERT_OK(lock);
        write_file(own.path(segment(4)) + ".chronos.tmp", make_segment(4));
    }
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_FALSE(take(own, 4));
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(1));
    EXPECT_FALSE(fs::exists(destination()));
}

TEST_F(ArchiveSpool, FileThatIsBeingFetchedIsWaitedFor) {
    const Spool own = spool();
    const auto lock = own.lock();
    ASSERT_OK(lock);
    const std::string temporary = own.path(segment(4)) + ".chronos.tmp";
    write_file(temporary, make_segment(4));
    std::thread writer([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        fs::rename(temporary, own.path(segment(4)));
    });
    EXPECT_TRUE(take(own, 4));
    writer.join();
    EXPECT_TRUE(read_file(destination()) == make_segment(4));
}

TEST_F(ArchiveSpool, WritersThatHangAreNotWaitedForForever) {
    const Spool own = spool();
    const auto lock = own.lock();
    write_file(own.path(segment(4)) + ".chronos.tmp", make_segment(4));
    EXPECT_FALSE(take(own, 4));
    EXPECT_FALSE(fs::exists(destination()));
}

TEST_F(ArchiveSpool, PlantedContentIsNotServedAndRemoved) {
    const Spool own = spool();
    const auto lock = own.lock();
    ASSERT_OK(lock);
    for (const std::string& wrong :
         {make_segment(5), make_segment(4, 1, kSystemId + 1), make_segment(4).substr(1),
          std::string(kSegmentSize, '\0'), std::string()}) {
        write_file(own.path(segment(4)), wrong);
        EXPECT_FALSE(take(own, 4));
        EXPECT_FALSE(fs::exists(destination()));
        EXPECT_FALSE(fs::exists(own.path(segment(4))));
    }
    write_file(directory_ / "elsewhere", make_segment(4));
    fs::create_symlink(directory_ / "elsewhere", own.path(segment(4)));
    EXPECT_FALSE(take(own, 4));
}

TEST_F(ArchiveSpool, BelongsToOneDataDirectoryOfOneCluster) {
    const Spool own = spool();
    const auto lock = own.lock();
    ASSERT_OK(lock);
    write_file(own.path(segment(4)), make_segment(4));
    const auto control = pgdata::read_control_file(pg_path());
    fs::copy(pg_path(), directory_ / "other", fs::copy_options::recursive);
    const auto other =
        Spool::of({directory_ / "spool", kStanza, directory_ / "other"}, *control, kSegmentSize);
    EXPECT_NE(other->directory(), own.directory());
    EXPECT_FALSE(take(*other, 4));
    pgdata::ControlFile foreign = *control;
    ++foreign.system_id;
    EXPECT_NE(Spool::of(place(), foreign, kSegmentSize)->directory(), own.directory());
}

TEST_F(ArchiveSpool, CleaningLeavesOnlyWhatIsStillToCome) {
    const Spool own = spool();
    const auto lock = own.lock();
    ASSERT_OK(lock);
    for (const std::string& name :
         {segment(3), segment(4), segment(5), segment(8), segment(9), segment(7) + ".chronos.tmp",
          std::string("000000020000000000000006")})
        write_file(own.path(name), "x");
    // Before the machine was started the last time, and another cluster's.
    const std::string before = own.directory().substr(0, own.directory().size() - 36) +
                               "00000000-0000-0000-0000-000000000000";
    const std::string foreign = fs::path(own.directory()).parent_path() / "1-2-3-4";
    write_file(before + "/" + segment(5), "x");
    write_file(foreign + "/" + segment(5), "x");
    own.clean(segment(4));
    EXPECT_EQ(content(own), (Names{segment(5), segment(8)}));
    EXPECT_FALSE(fs::exists(before));
    EXPECT_TRUE(fs::exists(foreign));
    own.clean("");
    EXPECT_EQ(content(own), Names{});
}

TEST_F(ArchiveSpool, IsClearedByWhoeverHoldsIt) {
    const Spool own = spool();
    own.clear();
    EXPECT_FALSE(fs::exists(own.directory())) << "nothing to clear";
    {
        const auto lock = own.lock();
        ASSERT_OK(lock);
        write_file(own.path(segment(4)), "x");
        EXPECT_FALSE(own.must_clear());
        own.clear();
        EXPECT_TRUE(own.must_clear());
        EXPECT_TRUE(fs::exists(own.path(segment(4))));
        own.clean(segment(3));
        EXPECT_FALSE(own.must_clear());
        EXPECT_TRUE(fs::exists(own.path(segment(4))));
    }
    own.clear();
    EXPECT_FALSE(own.must_clear());
    EXPECT_EQ(content(own), Names{});
}

TEST_F(ArchiveSpool, OneProcessAtATimeAddsToIt) {
    const Spool own = spool();
    {
        const auto first = own.lock();
        ASSERT_OK(first);
        ASSERT_TRUE(*first);
        const auto second = own.lock();
        ASSERT_OK(second);
        EXPECT_FALSE(*second);
    }
    EXPECT_TRUE(*own.lock());
    EXPECT_EQ(fs::status(own.directory()).permissions(), fs::perms::owner_all);
}

TEST_F(ArchiveSpool, DirectoryThatOthersMayWriteToIsNotUsed) {
    const Spool own = spool();
    fs::create_directories(own.directory());
    fs::permissions(own.directory(), fs::perms::all);
    EXPECT_FALSE(own.lock());
    fs::remove_all(own.directory());
    write_file(own.directory(), "a file");
    EXPECT_FALSE(own.lock());
    EXPECT_FALSE(take(own, 4));
}

TEST_F(ArchiveSpool, GoesOverToAnotherFileSystem) {
    push_range(4, 4);
    test::TemporaryDirectory there("/dev/shm");
    const auto control = pgdata::read_control_file(pg_path());
    const auto own = Spool::of({there / "spool", kStanza, pg_path()}, *control, kSegmentSize);
    const auto lock = own->lock();
    ASSERT_OK(lock);
    fetch(*own, 3);
    ASSERT_TRUE(take(*own, 4));
    EXPECT_TRUE(read_file(destination()) == make_segment(4));
    EXPECT_FALSE(fs::exists(destination() + ".chronos.tmp"));
    EXPECT_EQ(content(*own), Names{});
}

TEST_F(ArchiveSpool, RestoreRemovesWhatWasFetchedForTheDirectory) {
    const Spool own = spool();
    const std::string stanza = fs::path(own.directory()).parent_path();
    write_file(own.path(segment(4)), "x");
    write_file(stanza + "/1-2-3-4/" + segment(4), "x");
    write_file(directory_ / "spool/archive/main/in/x", "x");
    ASSERT_OK(repo::remove_spools(place()));
    EXPECT_FALSE(fs::exists(own.directory()));
    EXPECT_TRUE(fs::exists(stanza + "/1-2-3-4"));
    EXPECT_FALSE(fs::exists(directory_ / "spool/archive/main"));
    repo::SpoolPlace nowhere = place();
    nowhere.pg_path = directory_ / "not there";
    EXPECT_OK(repo::remove_spools(nowhere));
}

}  // namespace
}  // namespace chronos::ops::archive
