// A file of a backup that may be written reads like an array of bytes, whatever is done to it in
// which order, also while a part of it is being fetched; and it is fetched only for who needs it.
#include "ops/mount/overlay_file.h"

#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "random_bytes.h"
#include "temporary_directory.h"

namespace chronos::ops::mount {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

constexpr std::uint64_t kPage = Presence::kPage;

/// The backup's content of a file, and what was fetched of it.
struct Origin {
    std::string content;
    std::vector<ByteRange> fetched;
    std::function<void()> meanwhile;  ///< before a fetch arrives
    int error = 0;

    OverlayFile::Fetch fetch() {
        return [this](std::uint64_t offset, std::size_t size, const fuse::Interrupted&,
                      std::string& out) {
            EXPECT_LE(offset + size, content.size());
            fetched.push_back({offset, offset + size});
            if (meanwhile) meanwhile();
            if (error != 0) return error;
            out = content.substr(offset, size);
            return 0;
        };
    }
};

class OverlayFileTest : public testing::Test {
protected:
    test::TemporaryDirectory directory_;
    Origin origin_;

    std::string path() const { return directory_.path() + "/1"; }
    OverlayFile made_of(std::string content) {
        origin_.content = std::move(content);
        return {path(), origin_.content.size(), origin_.fetch()};
    }
    static std::string all(OverlayFile& file) {
        std::string content;
        EXPECT_EQ(file.read(0, SIZE_MAX / 2, {}, content), 0);
        return content;
    }
};

TEST_F(OverlayFileTest, IsWhatTheBackupHasAndFetchesThatOnce) {
    const std::string content = random_bytes(3 * kPage + 100);
    OverlayFile file = made_of(content);
    std::string part;
    ASSERT_EQ(file.read(kPage + 1, 2, {}, part), 0);
    EXPECT_EQ(part, content.substr(kPage + 1, 2));
    EXPECT_THAT(origin_.fetched, ElementsAre(ByteRange{kPage, 2 * kPage}));
    EXPECT_EQ(all(file), content);
    EXPECT_THAT(origin_.fetched, ElementsAre(ByteRange{kPage, 2 * kPage}, ByteRange{0, kPage},
                                             ByteRange{2 * kPage, 3 * kPage + 100}));
    file.rest();
    EXPECT_EQ(all(file), content);
    EXPECT_EQ(origin_.fetched.size(), 3U);
}

// Replay of WAL writes whole pages: a mount that fetched them would fetch all that it changes.
TEST_F(OverlayFileTest, AWholePageIsWrittenWithoutAFetch) {
    std::string content = random_bytes(5 * kPage + 100);
    OverlayFile file = made_of(content);
    const std::string page(2 * kPage, 'w');
    ASSERT_EQ(file.write(kPage, page, {}), 0);
    // The last one has no more than this of the backup.
    ASSERT_EQ(file.write(5 * kPage, std::string(100, 'e'), {}), 0);
    ASSERT_EQ(file.write(5 * kPage + 300, "behind", {}), 0);
    std::string part;
    ASSERT_EQ(file.read(kPage, page.size(), {}, part), 0);
    EXPECT_EQ(part, page);
    EXPECT_THAT(origin_.fetched, IsEmpty());
    content.replace(kPage, page.size(), page);
    content.replace(5 * kPage, 100, 100, 'e');
    content.resize(5 * kPage + 300);
    EXPECT_EQ(all(file), content + "behind");
}

TEST_F(OverlayFileTest, APartOfAPageIsWrittenIntoWhatTheBackupHas) {
    std::string content = random_bytes(4 * kPage);
    OverlayFile file = made_of(content);
    const std::string across(2 * kPage, 'a');
    ASSERT_EQ(file.write(kPage / 2, across, {}), 0);
    EXPECT_THAT(origin_.fetched, ElementsAre(ByteRange{0, kPage}, ByteRange{2 * kPage, 3 * kPage}));
    content.replace(kPage / 2, across.size(), across);
    EXPECT_EQ(all(file), content);
}

TEST_F(OverlayFileTest, WhatWasCutOffIsZerosWhenItGrowsAgain) {
    const std::string content = random_bytes(4 * kPage);
    OverlayFile file = made_of(content);
    ASSERT_EQ(all(file), content);
    ASSERT_EQ(file.resize(kPage + 10), 0);
    ASSERT_EQ(file.resize(3 * kPage), 0);
    std::string expected = content.substr(0, kPage + 10);
    expected.resize(3 * kPage);
    EXPECT_EQ(all(file), expected);

    Origin other{.content = content, .fetched = {}, .meanwhile = {}};
    OverlayFile never_read(directory_.path() + "/2", content.size(), other.fetch());
    ASSERT_EQ(never_read.resize(kPage + 10), 0);
    ASSERT_EQ(never_read.resize(3 * kPage), 0);
    EXPECT_EQ(all(never_read), expected);
    EXPECT_THAT(other.fetched, ElementsAre(ByteRange{0, kPage + 10}));
}

TEST_F(OverlayFileTest, WhatArrivesLateDoesNotReplaceWhatWasWritten) {
    std::string content = random_bytes(4 * kPage);
    OverlayFile file = made_of(content);
    const std::string page(kPage, 'n');
    bool done = false;
    origin_.meanwhile = [&] {
        if (std::exchange(done, true)) return;
        EXPECT_EQ(file.write(kPage, page, {}), 0);
        EXPECT_EQ(file.resize(3 * kPage + 7), 0);
        EXPECT_EQ(file.resize(4 * kPage), 0);
    };
    content.replace(kPage, kPage, page);
    content.resize(3 * kPage + 7);
    content.resize(4 * kPage);
    EXPECT_EQ(all(file), content);
}

TEST_F(OverlayFileTest, AFailedFetchIsAnErrorAndNothingElse) {
    const std::string content = random_bytes(2 * kPage);
    OverlayFile file = made_of(content);
    origin_.error = EIO;
    std::string part;
    EXPECT_EQ(file.read(0, 10, {}, part), EIO);
    EXPECT_EQ(part, "");
    EXPECT_EQ(file.write(5, "x", {}), EIO);
    ASSERT_EQ(file.write(kPage, std::string(kPage, 'y'), {}), 0);
    origin_.error = 0;
    EXPECT_EQ(all(file), content.substr(0, kPage) + std::string(kPage, 'y'));
}

// A disk that is full: what was written behind the end is not there when the file grows.
TEST_F(OverlayFileTest, AWriteThatFailsHalfwayLeavesNothingBehindTheEnd) {
    OverlayFile file = made_of("");
    ASSERT_EQ(file.write(0, std::string(1000, 'a'), {}), 0);
    rlimit before{};
    ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    const rlimit small{1500, before.rlim_max};
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
    EXPECT_EQ(file.write(1000, std::string(1000, 'b'), {}), EFBIG);
    ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, handler);
    ASSERT_EQ(file.resize(1800), 0);
    EXPECT_EQ(all(file), std::string(1000, 'a') + std::string(800, '\0'));
}

// What a fetch brings is more than was asked for: blocks, which need not begin where pages do.
TEST_F(OverlayFileTest, KeepsWholePagesOfWhatAFetchBrings) {
    std::string content = random_bytes(6 * kPage + 100);
    OverlayFile file = made_of(content);
    const auto piece = [&](std::uint64_t offset, std::uint64_t end) {
        return Piece{offset, std::string_view(origin_.content).substr(offset, end - offset)};
    };
    const std::string page(kPage, 'w');
    ASSERT_EQ(file.write(kPage, page, {}), 0);
    content.replace(kPage, kPage, page);
    EXPECT_TRUE(file.keep({piece(0, 2 * kPage), piece(6 * kPage, 6 * kPage + 100)}));
    EXPECT_FALSE(file.keep({piece(3 * kPage - 10, 5 * kPage + 10)}));
    std::string part;
    ASSERT_EQ(file.read(3 * kPage, 2 * kPage, {}, part), 0);
    ASSERT_EQ(file.read(6 * kPage, 100, {}, part), 0);
    EXPECT_THAT(origin_.fetched, IsEmpty());
    EXPECT_EQ(all(file), content);
    EXPECT_THAT(origin_.fetched,
                ElementsAre(ByteRange{2 * kPage, 3 * kPage}, ByteRange{5 * kPage, 6 * kPage}));
    ASSERT_EQ(file.resize(kPage), 0);
    EXPECT_TRUE(file.keep({piece(3 * kPage, 4 * kPage)}));
    ASSERT_EQ(file.resize(4 * kPage), 0);
    content.resize(kPage);
    content.resize(4 * kPage);
    EXPECT_EQ(all(file), content);
}

// Many files are fetched that nobody has open.
TEST_F(OverlayFileTest, WhatIsKeptForLaterIsNotOpenMeanwhile) {
    OverlayFile file = made_of(random_bytes(kPage));
    const auto open_files = [] {
        return std::distance(std::filesystem::directory_iterator("/proc/self/fd"), {});
    };
    const auto before = open_files();
    EXPECT_TRUE(file.keep({{0, origin_.content}}));
    EXPECT_EQ(open_files(), before);
    EXPECT_EQ(all(file), origin_.content);
    EXPECT_THAT(origin_.fetched, IsEmpty());
}

TEST_F(OverlayFileTest, TheSparseFileGoesWithIt) {
    {
        OverlayFile file = made_of(random_bytes(kPage));
        EXPECT_FALSE(std::filesystem::exists(path()));
        all(file);
        EXPECT_TRUE(std::filesystem::exists(path()));
    }
    EXPECT_FALSE(std::filesystem::exists(path()));
}

/// Does to a file and to an array of bytes the same things, some of them while the file waits for
/// what it fetches.
class Model {
public:
    Model(const std::string& directory, std::uint64_t seed)
        : random_(seed), bytes_(random_bytes(number(20 * kPage), seed)) {
        origin_.content = bytes_;
        origin_.meanwhile = [this] {
            const unsigned count = depth_ < 3 ? number(3) : 0;
            ++depth_;
            for (unsigned i = 0; i < count; ++i) step();
            --depth_;
        };
        file_ = std::make_unique<OverlayFile>(directory + "/model", bytes_.size(), origin_.fetch());
    }

    void step() {
        switch (number(9)) {
            case 0:
            case 1:
            case 2: return read();
            case 3:
            case 4:
            case 5: return write();
            case 6: return resize();
            case 7: return keep();
            default: file_->rest();
        }
    }
    void check_all() {
        std::string content;
        ASSERT_EQ(file_->read(0, SIZE_MAX / 2, {}, content), 0);
        ASSERT_TRUE(content == bytes_);
        ASSERT_EQ(file_->size_bytes(), bytes_.size());
    }

private:
    std::uint64_t number(std::uint64_t below) { return below == 0 ? 0 : random_() % below; }
    /// Often where pages begin and end.
    std::uint64_t place() {
        const std::uint64_t at = number(bytes_.size() + 2 * kPage);
        switch (number(3)) {
            case 0: return at / kPage * kPage;
            case 1: return at / kPage * kPage + number(2) * (kPage - 1);
            default: return at;
        }
    }
    void read() {
        const std::uint64_t offset = place();
        const std::size_t size = number(5 * kPage);
        std::string content;
        ASSERT_EQ(file_->read(offset, size, {}, content), 0);
        const std::string expected = offset < bytes_.size() ? bytes_.substr(offset, size) : "";
        ASSERT_TRUE(content == expected) << "at " << offset << ", " << size << " bytes";
    }
    void write() {
        const std::uint64_t offset = place();
        const std::size_t size = number(2) == 0 ? number(4) * kPage : number(3 * kPage);
        const std::string content = random_bytes(size, random_());
        ASSERT_EQ(file_->write(offset, content, {}), 0);
        // Now: what was done meanwhile came before.
        if (size == 0) return;
        bytes_.resize(std::max<std::size_t>(bytes_.size(), offset + size));
        bytes_.replace(offset, size, content);
    }
    /// Of the backup, late or early: what was written or cut off meanwhile stays.
    void keep() {
        const std::string_view content = origin_.content;
        const std::uint64_t offset = number(content.size());
        file_->keep({{offset, content.substr(offset, number(6 * kPage))}});
    }
    void resize() {
        const std::uint64_t size = number(4) == 0 ? number(30 * kPage) : place();
        ASSERT_EQ(file_->resize(size), 0);
        bytes_.resize(size);
    }

    std::mt19937_64 random_;
    std::string bytes_;
    Origin origin_;
    std::unique_ptr<OverlayFile> file_;
    unsigned depth_ = 0;
};

TEST_F(OverlayFileTest, IsAnArrayOfBytesWhateverIsDoneInWhichOrder) {
    for (std::uint64_t round = 0; round < 200 && !HasFatalFailure(); ++round) {
        SCOPED_TRACE("seed " + std::to_string(test_seed()) + ", round " + std::to_string(round));
        Model model(directory_.path(), test_seed() + round);
        for (int i = 0; i < 60 && !HasFatalFailure(); ++i) {
            model.step();
            if (i % 20 == 19) model.check_all();
        }
    }
}

// Each thread has pages of its own, whose halves it writes and reads, while all of the file is
// being fetched and read by others.
TEST_F(OverlayFileTest, ThreadsFindWhatTheyHaveWritten) {
    constexpr std::uint64_t kThreads = 4, kPages = 64;
    const std::string content = random_bytes(kPages * kPage);
    OverlayFile file(
        path(), content.size(),
        [&](std::uint64_t offset, std::size_t size, const fuse::Interrupted&, std::string& out) {
            std::this_thread::yield();
            out = content.substr(offset, size);
            return 0;
        });
    std::atomic<bool> wrong{false};
    std::vector<std::thread> threads;
    for (std::uint64_t t = 0; t < kThreads; ++t)
        threads.emplace_back([&, t] {
            std::mt19937_64 random(test_seed() + t);
            std::string mine = content, part;
            for (int i = 0; i < 300; ++i) {
                const std::uint64_t at =
                    (random() % (kPages / kThreads) * kThreads + t) * kPage + random() % 2 * 100;
                const std::string written(random() % 2 == 0 ? kPage - at % kPage : 50,
                                          static_cast<char>('a' + i % 26));
                mine.replace(at, written.size(), written);
                if (file.write(at, written, {}) != 0) wrong = true;
                if (file.read(random() % content.size(), 3 * kPage, {}, part) != 0) wrong = true;
                const std::uint64_t page = at / kPage * kPage;
                if (file.read(page, kPage, {}, part) != 0 || part != mine.substr(page, kPage))
                    wrong = true;
            }
        });
    for (std::thread& thread : threads) thread.join();
    EXPECT_FALSE(wrong) << "seed " << test_seed();
}

}  // namespace
}  // namespace chronos::ops::mount
