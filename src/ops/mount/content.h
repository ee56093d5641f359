#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/fuse/file_system.h"
#include "chronos/ops/mount/fetch_settings.h"
#include "chronos/repo/manifest.h"
#include "chronos/repo/repository.h"
#include "ops/mount/piece.h"

namespace chronos::ops::mount {

struct ContentLimits {
    /// Fetched units and block maps; the least recently used go first. What is being fetched comes
    /// on top: a unit for each worker.
    std::uint64_t cache_bytes = std::uint64_t{256} << 20;
    /// Files that are stored whole and are larger than kInMemoryMax are decoded into unlinked files
    /// in `spool_path`, so much of them.
    std::uint64_t spool_bytes = std::uint64_t{8} << 30;
    std::string spool_path = "/var/tmp";
    /// How long nothing at all may arrive.
    std::chrono::milliseconds patience{60'000};
    unsigned workers = 4;
    /// So many workers more fetch only what somebody waits for; the others let all else on the
    /// machine go first, too.
    unsigned for_who_waits = 0;
    /// A failure is the answer to whoever asks again within this time.
    std::chrono::milliseconds failure_stays{5'000};
};

ContentLimits limits_of(const FetchSettings& settings, const storage::Storage& storage);

struct ContentFigures {
    std::uint64_t fetches = 0;
    std::uint64_t fetched_bytes = 0;  ///< of content
    std::uint64_t cached_bytes = 0;
    std::uint64_t spooled_bytes = 0;
    std::uint64_t failures = 0;
    std::string last_failure;
};

/// Takes what a fetch has brought of a file, before any of it is given to who asked: true if it has
/// all of that from now on, and asks for the rest of the file only. By workers, several at a time.
using Keep = std::function<bool(const repo::ManifestFile& file, const std::vector<Piece>& pieces)>;

/// Where the content of a large file that is stored whole is decoded to, in place of the spool,
/// which would have to be copied. Nobody may be given any of it before `done`: what the file's
/// checksum says is known at its end. By one worker for each file.
struct InPlace {
    static constexpr std::size_t kPage = 8192;
    /// A piece, which begins with a page, and ends with one or with the file. False if it has no
    /// place there, or cannot be written.
    std::function<bool(const repo::ManifestFile& file, std::uint64_t offset,
                       std::string_view content)>
        lay;
    /// All of it was laid, and is what the manifest says. Who asks has all from now on.
    std::function<void(const repo::ManifestFile& file)> done;
};

/// What the files of a backup have in them, fetched when it is asked for and verified before any of
/// it is given: repo::LazyFile says what has to be fetched for that.
///
/// A unit is fetched once, however many ask for it at a time. Who reads a file from front to back
/// finds what comes next fetched: one unit more at first, twice as many each time, up to
/// kAheadMax. Where a request is a round trip, members of a bundle bring their neighbours along.
/// What `keep` has taken is not kept here, nor fetched ahead again.
///
/// Any thread. What it is made from must outlive it.
class Content {
public:
    static constexpr unsigned kAheadMax = 8;
    static constexpr std::uint64_t kInMemoryMax = std::uint64_t{4} << 20;

    Content(const repo::Repository& repository, const std::string& stanza,
            const repo::Manifest& manifest, ContentLimits limits, Keep keep = nullptr,
            InPlace in_place = {});
    /// Waits for what is being fetched, which goes no further.
    ~Content();
    Content(const Content&) = delete;
    Content& operator=(const Content&) = delete;

    /// The range of the file, which lies in it. An errno: EIO for what could not be had or is not
    /// what the manifest says, with the reason in the log, EINTR if `interrupted`; where there is
    /// an InPlace, EAGAIN for what is in its place by now, where whoever asks is to look again. A
    /// file is one of the manifest.
    int read(const repo::ManifestFile& file, std::uint64_t offset, std::size_t size,
             const fuse::Interrupted& interrupted, std::string& content);
    /// The same for whoever lets all others go first; what fails is said when one of them asks.
    int read_behind(const repo::ManifestFile& file, std::uint64_t offset, std::size_t size,
                    const fuse::Interrupted& interrupted, std::string& content);

    /// Of these the ones that can be fetched at once and in memory are, while nothing is asked for:
    /// nobody waits for that, and what fails is tried again for who asks.
    void fetch_ahead(const std::vector<const repo::ManifestFile*>& files);

    ContentFigures figures() const;

private:
    struct State;
    enum class Turn { now, behind };
    int read(const repo::ManifestFile& file, std::uint64_t offset, std::size_t size, Turn turn,
             const fuse::Interrupted& interrupted, std::string& content);
    std::unique_ptr<State> state_;
};

}  // namespace chronos::ops::mount
