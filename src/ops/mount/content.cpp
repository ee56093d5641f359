#include "ops/mount/content.h"
#include "chronos/storage/parallel.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <deque>
#include <list>
#include <map>
#include <mutex>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/crypto/hash.h"
#include "chronos/os/file.h"
#include "chronos/os/process.h"
#include "chronos/repo/lazy_file.h"
#include "chronos/repo/stored_file.h"
#include "ops/mount/presence.h"

namespace chronos::ops::mount {
namespace {

using repo::LazyFile;
using repo::ManifestFile;
using Clock = std::chrono::steady_clock;

/// In place of a unit's number: the block map of the file.
constexpr std::size_t kMap = SIZE_MAX;
/// Members that come along: of so much stored in one read, and so much of content.
constexpr std::uint64_t kRunStoredMax = std::uint64_t{2} << 20;
constexpr std::uint64_t kRunSizeMax = std::uint64_t{16} << 20;
constexpr std::uint64_t kRunGapMax = std::uint64_t{32} << 10;
/// Of a large file, in bytes of content: a share of hydration, with all of the units at its ends.
constexpr std::uint64_t kFollowingMax = std::uint64_t{6} << 20;
/// What is read over, in all, to fetch ahead with fewer requests.
constexpr std::uint64_t kGapsAheadMax = std::uint64_t{2} << 20;
/// Of what is decoded to its place.
constexpr std::size_t kLaidAtOnce = std::size_t{1} << 20;
// What is no whole page of a file that is completed would be left out of it.
static_assert(InPlace::kPage % Presence::kPage == 0);
/// The kernel reads ahead by itself, in pieces that come in any order.
constexpr std::uint64_t kDisorder = std::uint64_t{512} << 10;
constexpr std::chrono::milliseconds kLook(100);

struct Key {
    const ManifestFile* file = nullptr;
    std::size_t unit = 0;
    bool operator==(const Key&) const = default;
    bool operator<(const Key& other) const {
        return std::tie(file, unit) < std::tie(other.file, other.unit);
    }
};

/// What is stored whole has no smaller part; of a small block-incremental file all is fetched at
/// once, with its map: a round trip takes longer than its blocks.
bool in_one_unit(const ManifestFile& file) {
    constexpr std::uint64_t kOneUnitMax = std::uint64_t{1} << 20;
    return !file.block_incremental() || file.size <= kOneUnitMax;
}

struct Part {
    std::uint64_t offset = 0;
    std::string content;
    std::uint64_t end() const { return offset + content.size(); }
};

/// What is there of a unit. Changed under the mutex of all; content only before it is ready.
struct Unit {
    enum class State { queued, fetching, ready, failed };
    State state = State::queued;
    bool running = false;  ///< a worker is at it, also if who waited has given up
    bool wanted = false;   ///< somebody has asked, and it is not only read ahead
    Clock::time_point failed_at;
    std::atomic<Clock::rep> progress{0};  ///< when something arrived

    std::shared_ptr<const LazyFile> lazy;  ///< what to fetch it by; of a map what it is
    std::vector<Part> parts;               ///< ascending
    os::FileDescriptor spool;
    bool in_place = false;  ///< all of it is where it belongs, and not here
    std::uint64_t bytes = 0;

    void add(std::uint64_t offset, io::Bytes content);
    void join();
    void copy(std::uint64_t offset, std::uint64_t end, std::string& content) const;
};

void Unit::add(std::uint64_t offset, io::Bytes content) {
    if (parts.empty() || parts.back().end() != offset) parts.push_back({offset, {}});
    parts.back().content += io::text(content);
    bytes += content.size();
}

/// All are added: those that touch become one, however they came.
void Unit::join() {
    std::ranges::sort(parts, {}, &Part::offset);
    std::vector<Part> joined;
    for (Part& part : parts)
        if (!joined.empty() && joined.back().end() == part.offset)
            joined.back().content += part.content;
        else
            joined.push_back(std::move(part));
    parts = std::move(joined);
}

/// `offset` to `end` lies in one part, or in the spool.
void Unit::copy(std::uint64_t offset, std::uint64_t end, std::string& content) const {
    const std::size_t size = end - offset;
    if (spool.valid()) {
        const std::size_t had = content.size();
        content.resize(had + size);
        for (std::size_t done = 0; done < size;) {
            const ssize_t count = ::pread(spool.get(), content.data() + had + done, size - done,
                                          static_cast<off_t>(offset + done));
            if (count < 0 && errno == EINTR) continue;
            if (count <= 0) throw std::runtime_error("the spool cannot be read back");
            done += static_cast<std::size_t>(count);
        }
        return;
    }
    const auto after = std::ranges::upper_bound(parts, offset, {}, &Part::offset);
    if (after == parts.begin() || (after - 1)->end() < end)
        throw std::logic_error("a unit without what it was fetched for");
    content.append((after - 1)->content, offset - (after - 1)->offset, size);
}

struct ReadingAhead {
    std::uint64_t end = 0;        ///< of what was read last
    std::uint64_t ahead_end = 0;  ///< of what is fetched for that reader
    std::size_t unit = SIZE_MAX;
    unsigned window = 0;
};

Error ended() {
    return Error(ErrorKind::cancelled, "the mount ends");
}

/// No name is left, so that nothing stays behind whatever happens to this process.
Result<os::FileDescriptor> make_spool(const std::string& path) {
    os::FileDescriptor spool(::open(path.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
    if (spool.valid()) return spool;
    std::string name = path + "/chronos-mount.XXXXXX";
    spool = os::FileDescriptor(::mkostemp(name.data(), O_CLOEXEC));
    if (!spool.valid())
        return system_error(ErrorKind::file_open, "make a file in '" + path + "'", errno);
    ::unlink(name.c_str());
    return spool;
}

}  // namespace

struct Content::State {
    const repo::Repository& repository;
    const std::string& stanza;
    const repo::Manifest& manifest;
    const ContentLimits limits;
    const Keep keep;
    const InPlace in_place;
    const bool remote;

    /// Members of bundles that may come along, in the order in which they lie there.
    std::vector<const ManifestFile*> members;
    std::unordered_map<const ManifestFile*, std::size_t> place_of_member;

    mutable std::mutex mutex;
    std::condition_variable changed;  ///< a unit is there, or failed
    std::condition_variable queued;
    std::condition_variable queued_now;  ///< for those that fetch only what somebody waits for
    std::map<Key, std::shared_ptr<Unit>> units;
    std::list<Key> in_memory, in_spool;  ///< ready ones, the most recently used first
    std::map<Key, std::list<Key>::iterator> place_in_list;
    std::deque<Key> asked_for, ahead;
    std::deque<std::vector<Key>> runs_ahead;
    std::unordered_map<const ManifestFile*, ReadingAhead> reading;
    /// By their numbers the units of a file that `keep` has taken.
    std::unordered_map<const ManifestFile*, std::vector<bool>> kept_units;
    ContentFigures figures;
    std::uint64_t spooling_bytes = 0;     ///< of files that are being decoded
    std::atomic<Clock::rep> progress{0};  ///< when anything arrived
    std::atomic<bool> ending{false};
    std::vector<std::thread> workers;

    State(const repo::Repository& repository_, const std::string& stanza_,
          const repo::Manifest& manifest_, ContentLimits limits_, Keep keep_, InPlace in_place_)
        : repository(repository_),
          stanza(stanza_),
          manifest(manifest_),
          limits(std::move(limits_)),
          keep(std::move(keep_)),
          in_place(std::move(in_place_)),
          remote(repository.storage->features().remote) {}

    void note(Unit& unit) {
        const Clock::rep now = Clock::now().time_since_epoch().count();
        unit.progress.store(now, std::memory_order_relaxed);
        progress.store(now, std::memory_order_relaxed);
    }

    /// A worker is at it from here on. Under the mutex.
    void begin(Unit& unit) {
        unit.state = Unit::State::fetching;
        unit.running = true;
        note(unit);
    }

    int acquire(const Key& key, const std::shared_ptr<const LazyFile>& lazy, Turn turn,
                const fuse::Interrupted& interrupted, std::shared_ptr<Unit>& unit);
    int wait(const Key& key, Unit& unit, const fuse::Interrupted& interrupted,
             std::unique_lock<std::mutex>& lock);
    void read_ahead(const ManifestFile& file, const std::shared_ptr<const LazyFile>& lazy,
                    std::uint64_t offset, std::uint64_t end);
    void ask_for_all(const ManifestFile& file, const std::shared_ptr<const LazyFile>& lazy,
                     std::uint64_t offset, std::uint64_t end);
    void fetch_later(const Key& key, const std::shared_ptr<const LazyFile>& lazy);

    void find_members();
    enum class Of { all, who_waits };
    void work(Of work);
    bool take(Of work, Key& key, std::vector<Key>& along);
    void take_along(const Key& key, std::vector<Key>& along);
    void take_following(const Key& key, std::vector<Key>& along);
    void begin_run(std::vector<Key> run, std::vector<Key>& along);
    std::vector<std::vector<Key>> runs_of(std::vector<const ManifestFile*> files) const;
    Result<> fetch(const Key& key, Unit& unit);
    Result<> collect(const LazyFile& lazy, const Key& key, Unit& unit);
    Result<> fetch_into_spool(const Key& key, Unit& unit);
    Result<bool> fetch_in_place(const Key& key, Unit& unit);
    void fetch_run(const std::vector<Key>& keys);
    Result<> read_run(const std::vector<Key>& keys, std::size_t& done);
    Result<> read_units(const std::vector<Key>& keys, std::size_t& done);
    bool hand_over(const Key& key);
    bool is_kept(const Key& key) const;
    void note_kept(const Key& key);
    void publish(const Key& key, const Result<>& result, bool quietly);
    void fail(const Key& key, Unit& unit, const std::string& reason);
    void touch(const Key& key, const Unit& unit);
    void forget(const Key& key);
    void make_room();
};

void Content::State::find_members() {
    for (const ManifestFile& file : manifest.files)
        if (file.bundled() && in_one_unit(file) && file.size > 0 && file.size <= kInMemoryMax)
            members.push_back(&file);
    std::ranges::sort(members, [](const ManifestFile* a, const ManifestFile* b) {
        return std::tuple(a->reference.view(), a->bundle_id, a->bundle_offset) <
               std::tuple(b->reference.view(), b->bundle_id, b->bundle_offset);
    });
    for (std::size_t i = 0; i < members.size(); ++i) place_of_member[members[i]] = i;
}

/// Moves it to the front of its list. Under the mutex, as the next ones.
void Content::State::touch(const Key& key, const Unit& unit) {
    std::list<Key>& list = unit.spool.valid() ? in_spool : in_memory;
    const auto found = place_in_list.find(key);
    if (found != place_in_list.end()) {
        list.splice(list.begin(), list, found->second);
        return;
    }
    list.push_front(key);
    place_in_list[key] = list.begin();
    (unit.spool.valid() ? figures.spooled_bytes : figures.cached_bytes) += unit.bytes;
}

void Content::State::forget(const Key& key) {
    const auto found = units.find(key);
    const Unit& unit = *found->second;
    const bool spooled = unit.spool.valid();
    (spooled ? figures.spooled_bytes : figures.cached_bytes) -= unit.bytes;
    const auto place = place_in_list.find(key);
    (spooled ? in_spool : in_memory).erase(place->second);
    place_in_list.erase(place);
    units.erase(found);  // who reads it still has it
}

void Content::State::make_room() {
    while (figures.cached_bytes > limits.cache_bytes && in_memory.size() > 1)
        forget(Key(in_memory.back()));
}

void Content::State::fail(const Key& key, Unit& unit, const std::string& reason) {
    unit.state = Unit::State::failed;
    unit.failed_at = Clock::now();
    ++figures.failures;
    figures.last_failure = reason;
    log(LogLevel::error, "file '" + key.file->name + "' cannot be read: " + reason);
}

/// Whether `keep` has taken what was fetched.
bool Content::State::hand_over(const Key& key) {
    if (!keep || key.unit == kMap) return false;
    std::shared_ptr<Unit> unit;
    {
        const std::lock_guard lock(mutex);
        const auto found = units.find(key);
        if (found == units.end()) return false;
        unit = found->second;
    }
    if (unit->in_place) return true;
    if (unit->spool.valid()) return false;
    std::vector<Piece> pieces;
    for (const Part& part : unit->parts) pieces.push_back({part.offset, part.content});
    return keep(*key.file, pieces);
}

/// Under the mutex, as the next one.
bool Content::State::is_kept(const Key& key) const {
    const auto found = kept_units.find(key.file);
    return found != kept_units.end() && key.unit < found->second.size() && found->second[key.unit];
}

void Content::State::note_kept(const Key& key) {
    std::vector<bool>& of_file = kept_units[key.file];
    if (key.unit >= of_file.size()) of_file.resize(key.unit + 1);
    of_file[key.unit] = true;
}

/// What was fetched is there, or failed. Quietly: nobody has asked, and who does tries again.
void Content::State::publish(const Key& key, const Result<>& result, bool quietly) {
    const bool handed_over = result && hand_over(key);
    const std::lock_guard lock(mutex);
    const auto found = units.find(key);
    if (found == units.end()) return;
    Unit& unit = *found->second;
    unit.running = false;
    if (result) {
        unit.state = Unit::State::ready;
        if (key.unit != kMap) figures.fetched_bytes += unit.bytes;
        if (handed_over) {
            note_kept(key);
            units.erase(found);  // who waits for it has it
        } else {
            touch(key, unit);
            make_room();
        }
    } else if (quietly && !unit.wanted) {
        unit.state = Unit::State::failed;  // for who has let others go first
        units.erase(found);
    } else {
        unit.parts = {};
        fail(key, unit, result.error().text());
    }
    changed.notify_all();
}

int Content::State::wait(const Key& key, Unit& unit, const fuse::Interrupted& interrupted,
                         std::unique_lock<std::mutex>& lock) {
    const Clock::rep begin = Clock::now().time_since_epoch().count();
    while (unit.state == Unit::State::queued || unit.state == Unit::State::fetching) {
        changed.wait_for(lock, kLook);
        if (unit.state == Unit::State::ready || unit.state == Unit::State::failed) break;
        if (interrupted && interrupted()) return EINTR;
        // Behind others it waits as long as something comes for them.
        const Clock::rep arrived = unit.state == Unit::State::queued ? progress : unit.progress;
        const Clock::duration silent(Clock::now().time_since_epoch().count() -
                                     std::max(begin, arrived));
        if (silent > limits.patience)
            fail(
                key, unit,
                "nothing has arrived from '" +
                    repository.storage->describe(repo::locate(stanza, manifest, *key.file).object) +
                    "' for " +
                    std::to_string(
                        std::chrono::duration_cast<std::chrono::milliseconds>(silent).count()) +
                    " ms");
    }
    return unit.state == Unit::State::ready ? 0 : EIO;
}

int Content::State::acquire(const Key& key, const std::shared_ptr<const LazyFile>& lazy, Turn turn,
                            const fuse::Interrupted& interrupted, std::shared_ptr<Unit>& unit) {
    std::unique_lock lock(mutex);
    if (in_place.lay && is_kept(key)) return EAGAIN;
    std::shared_ptr<Unit>& known = units[key];
    const bool is_new = known == nullptr;
    if (is_new) known = std::make_shared<Unit>();
    unit = known;
    bool again = false;
    if (unit->state == Unit::State::failed) {
        if (Clock::now() - unit->failed_at < limits.failure_stays) return EIO;
        // A worker may still hang in it, to whom it is left.
        again = !unit->running;
        unit->state = again ? Unit::State::queued : Unit::State::fetching;
    }
    const bool is_ahead = unit->state == Unit::State::queued && !unit->wanted;
    if (turn == Turn::now) unit->wanted = true;
    if (is_new || again || (is_ahead && turn == Turn::now)) {
        unit->lazy = lazy;
        if (turn == Turn::now) std::erase(ahead, key);
        (turn == Turn::now ? asked_for : ahead).push_back(key);
        queued.notify_one();
        if (turn == Turn::now) queued_now.notify_one();
    }
    const int error = wait(key, *unit, interrupted, lock);
    const auto kept = units.find(key);
    if (error == 0 && kept != units.end() && kept->second == unit) touch(key, *unit);
    return error;
}

void Content::State::read_ahead(const ManifestFile& file,
                                const std::shared_ptr<const LazyFile>& lazy, std::uint64_t offset,
                                std::uint64_t end) {
    const std::size_t unit = lazy->unit_at(offset);
    const std::lock_guard lock(mutex);
    ReadingAhead& state = reading[&file];
    // Of what has been taken by `keep` nobody asks: the next question comes from behind it.
    const std::uint64_t known_to = std::max(state.end, keep ? state.ahead_end : 0);
    const bool follows = offset + kDisorder >= state.end && offset <= known_to + kDisorder;
    if (!follows) state.window = 0;
    state.end = follows ? std::max(state.end, end) : end;
    if (state.unit == unit) return;
    state.unit = unit;
    if (!follows) return;
    state.window = std::min(kAheadMax, std::max(1U, state.window * 2));
    std::uint64_t at = lazy->part_end(offset);
    for (unsigned i = 0; i < state.window && at < file.size; ++i, at = lazy->part_end(at)) {
        fetch_later({&file, lazy->unit_at(at)}, lazy);
    }
    state.ahead_end = at;
}

/// Under the mutex.
void Content::State::fetch_later(const Key& key, const std::shared_ptr<const LazyFile>& lazy) {
    if (is_kept(key)) return;
    std::shared_ptr<Unit>& known = units[key];
    if (known != nullptr) return;
    known = std::make_shared<Unit>();
    known->lazy = lazy;
    ahead.push_back(key);
    queued.notify_one();
}

/// What somebody reads who knows how much it will be.
void Content::State::ask_for_all(const ManifestFile& file,
                                 const std::shared_ptr<const LazyFile>& lazy, std::uint64_t offset,
                                 std::uint64_t end) {
    const std::lock_guard lock(mutex);
    for (; offset < end; offset = lazy->part_end(offset))
        fetch_later({&file, lazy->unit_at(offset)}, lazy);
}

/// Members around this one in its bundle that nobody has fetched or is fetching; those are claimed.
void Content::State::take_along(const Key& key, std::vector<Key>& along) {
    const auto found = place_of_member.find(key.file);
    if (!remote || found == place_of_member.end()) return;
    std::size_t first = found->second, last = found->second;
    std::uint64_t size = key.file->size;
    const auto fits = [&](std::size_t from, std::size_t to, const ManifestFile& added) {
        const ManifestFile &a = *members[from], &b = *members[to];
        return a.reference == b.reference && a.bundle_id == b.bundle_id &&
               size + added.size <= kRunSizeMax &&
               b.bundle_offset + b.repo_size - a.bundle_offset <= kRunStoredMax;
    };
    const auto touch_each_other = [&](std::size_t before) {
        const ManifestFile &a = *members[before], &b = *members[before + 1];
        return b.bundle_offset >= a.bundle_offset + a.repo_size &&
               b.bundle_offset - a.bundle_offset - a.repo_size <= kRunGapMax;
    };
    while (last + 1 < members.size() && fits(first, last + 1, *members[last + 1]) &&
           touch_each_other(last))
        size += members[++last]->size;
    while (first > 0 && fits(first - 1, last, *members[first - 1]) && touch_each_other(first - 1))
        size += members[--first]->size;
    for (std::size_t i = first; i <= last; ++i) {
        const Key member{members[i], 0};
        const bool own = member == key;
        if (!own && is_kept(member)) continue;
        std::shared_ptr<Unit>& known = units[member];
        if (known == nullptr)
            known = std::make_shared<Unit>();
        else if (!own && known->state != Unit::State::queued)
            continue;
        begin(*known);
        std::erase(asked_for, member);
        along.push_back(member);
    }
}

/// What is to be fetched next of the same large file, where a request is a round trip.
void Content::State::take_following(const Key& key, std::vector<Key>& along) {
    if (!remote || in_one_unit(*key.file) || key.unit == kMap) return;
    const std::shared_ptr<const LazyFile> lazy = units.at(key)->lazy;
    std::uint64_t size = lazy->unit_size_bytes(key.unit);
    while (!ahead.empty()) {
        const Key next = ahead.front();
        const auto found = units.find(next);
        if (next.file != key.file || next.unit == kMap || found == units.end()) break;
        size += lazy->unit_size_bytes(next.unit);
        if (size > kFollowingMax) break;
        ahead.pop_front();
        if (found->second->running || found->second->state != Unit::State::queued) continue;
        begin(*found->second);
        along.push_back(next);
    }
    if (!along.empty()) along.insert(along.begin(), key);
}

/// Those of them that nobody has begun with.
void Content::State::begin_run(std::vector<Key> run, std::vector<Key>& along) {
    for (const Key& key : run) {
        const auto found = units.find(key);
        if (found == units.end() || found->second->running ||
            found->second->state != Unit::State::queued)
            continue;
        begin(*found->second);
        along.push_back(key);
    }
    if (!along.empty()) ++figures.fetches;
}

/// Members of bundles in as few reads as that is worth: the smallest gaps between them are read
/// over.
std::vector<std::vector<Key>> Content::State::runs_of(
    std::vector<const ManifestFile*> files) const {
    std::ranges::sort(files, {},
                      [&](const ManifestFile* file) { return place_of_member.find(file)->second; });
    const auto gap = [&](std::size_t i) -> std::optional<std::uint64_t> {
        const ManifestFile &before = *files[i - 1], &after = *files[i];
        const std::uint64_t end = before.bundle_offset + before.repo_size;
        if (before.reference.view() != after.reference.view() ||
            before.bundle_id != after.bundle_id || end > after.bundle_offset)
            return std::nullopt;
        return after.bundle_offset - end;
    };
    std::vector<std::pair<std::uint64_t, std::size_t>> gaps;
    for (std::size_t i = 1; i < files.size(); ++i)
        if (const auto size = gap(i)) gaps.emplace_back(*size, i);
    std::ranges::sort(gaps);
    std::vector<bool> goes_on(files.size(), false);
    std::uint64_t read_over = 0;
    for (const auto& [size, i] : gaps) {
        if (read_over + size > kGapsAheadMax) break;
        read_over += size;
        goes_on[i] = true;
    }
    std::vector<std::vector<Key>> runs;
    std::uint64_t begin = 0;
    for (std::size_t i = 0; i < files.size(); ++i) {
        const std::uint64_t end = files[i]->bundle_offset + files[i]->repo_size;
        if (!goes_on[i] || end - begin > kRunStoredMax) {
            runs.emplace_back();
            begin = files[i]->bundle_offset;
        }
        runs.back().push_back({files[i], 0});
    }
    return runs;
}

/// False at the end. What is asked for goes before what is read ahead.
bool Content::State::take(Of work, Key& key, std::vector<Key>& along) {
    std::unique_lock lock(mutex);
    (work == Of::all ? queued : queued_now).wait(lock, [&] {
        return ending || !asked_for.empty() ||
               (work == Of::all && (!runs_ahead.empty() || !ahead.empty()));
    });
    if (ending) return false;
    if (asked_for.empty() && !runs_ahead.empty()) {
        begin_run(std::move(runs_ahead.front()), along);
        runs_ahead.pop_front();
        key.file = nullptr;
        return true;
    }
    const bool is_ahead = asked_for.empty();
    std::deque<Key>& from = is_ahead ? ahead : asked_for;
    key = from.front();
    from.pop_front();
    const auto found = units.find(key);
    if (found == units.end() || found->second->running ||
        found->second->state != Unit::State::queued) {
        key.file = nullptr;
        return true;
    }
    begin(*found->second);
    ++figures.fetches;
    if (key.unit == 0) take_along(key, along);
    if (is_ahead && along.empty()) take_following(key, along);
    return true;
}

void Content::State::work(Of work) {
    if (work == Of::all && limits.for_who_waits > 0) os::let_others_go_first();
    Key key;
    for (std::vector<Key> along; take(work, key, along); along.clear()) {
        if (!along.empty()) {
            fetch_run(along);
            continue;
        }
        if (key.file == nullptr) continue;
        std::shared_ptr<Unit> unit;
        {
            const std::lock_guard lock(mutex);
            unit = units.at(key);
        }
        Result<> result;
        try {
            result = fetch(key, *unit);
        } catch (const std::exception& exception) {
            result = Error(ErrorKind::internal, exception.what());
        }
        publish(key, result, /*quietly=*/true);
    }
}

Result<> Content::State::fetch(const Key& key, Unit& unit) {
    const ManifestFile& file = *key.file;
    unit.parts.clear();
    unit.bytes = 0;
    if (key.unit == kMap || unit.lazy == nullptr) {
        unit.lazy = std::make_shared<const LazyFile>(
            CHRONOS_TRY(LazyFile::open(repository, stanza, manifest, file)));
        unit.bytes = unit.lazy->memory_bytes();
        if (key.unit == kMap) return {};
    }
    if (!file.block_incremental() && file.size > kInMemoryMax) {
        if (CHRONOS_TRY(fetch_in_place(key, unit))) return {};
        return fetch_into_spool(key, unit);
    }
    CHRONOS_TRY(collect(*unit.lazy, key, unit));
    unit.lazy = nullptr;
    return {};
}

/// What the unit is to have, by a file that is opened.
Result<> Content::State::collect(const LazyFile& lazy, const Key& key, Unit& unit) {
    std::vector<std::size_t> numbers{key.unit};
    if (in_one_unit(*key.file)) {
        numbers.resize(lazy.unit_count());
        std::iota(numbers.begin(), numbers.end(), std::size_t{0});
    }
    unit.parts.clear();
    unit.bytes = 0;
    CHRONOS_TRY(lazy.fetch(numbers, [&](std::uint64_t offset, io::Bytes in) -> Result<> {
        if (ending) return ended();
        note(unit);
        unit.add(offset, in);
        return {};
    }));
    unit.join();
    return {};
}

/// False if it has no place there.
Result<bool> Content::State::fetch_in_place(const Key& key, Unit& unit) {
    if (!in_place.lay) return false;
    const ManifestFile& file = *key.file;
    std::string gathered;
    std::uint64_t at = 0;
    bool fits = true;
    const auto lay = [&](std::size_t size) {
        fits = in_place.lay(file, at, std::string_view(gathered).substr(0, size));
        at += size;
        gathered.erase(0, size);
    };
    auto fetched = unit.lazy->fetch({&key.unit, 1}, [&](std::uint64_t, io::Bytes in) -> Result<> {
        if (ending) return ended();
        note(unit);
        gathered += io::text(in);
        if (gathered.size() >= kLaidAtOnce) lay(gathered.size() / InPlace::kPage * InPlace::kPage);
        return fits ? Result<>() : Error(ErrorKind::file_write, "it has no place");
    });
    if (fits && fetched && !gathered.empty()) lay(gathered.size());
    if (!fits) return false;
    CHRONOS_TRY(std::move(fetched));
    in_place.done(file);
    unit.in_place = true;
    unit.bytes = file.size;
    unit.lazy = nullptr;
    return true;
}

Result<> Content::State::fetch_into_spool(const Key& key, Unit& unit) {
    const std::uint64_t size = key.file->size;
    if (size > limits.spool_bytes)
        return Error(ErrorKind::file_write,
                     "its " + format_size(size) + " are stored in one piece, and only " +
                         format_size(limits.spool_bytes) + " of such files may be decoded")
            .with_hint("Give more with --mount-spool-size.");
    {
        const std::lock_guard lock(mutex);
        const auto is_full = [&] {
            return figures.spooled_bytes + spooling_bytes + size > limits.spool_bytes;
        };
        while (is_full() && !in_spool.empty()) forget(Key(in_spool.back()));
        if (is_full())
            return Error(ErrorKind::file_write,
                         "other files are being decoded, for which all of "
                         "--mount-spool-size is needed");
        spooling_bytes += size;
    }
    const std::shared_ptr<void> reserved(nullptr, [&](void*) {
        const std::lock_guard lock(mutex);
        spooling_bytes -= size;
    });
    os::FileDescriptor spool = CHRONOS_TRY(make_spool(limits.spool_path));
    CHRONOS_TRY(unit.lazy->fetch({&key.unit, 1}, [&](std::uint64_t, io::Bytes in) -> Result<> {
        if (ending) return ended();
        note(unit);
        return os::write_all(spool.get(), io::text(in), limits.spool_path);
    }));
    unit.spool = std::move(spool);
    unit.bytes = size;
    unit.lazy = nullptr;
    return {};
}

/// Members of one bundle by one read.
Result<> Content::State::read_run(const std::vector<Key>& keys, std::size_t& done) {
    auto run = CHRONOS_TRY(
        repo::StoredRun::open(repository, stanza, manifest, *keys.front().file, *keys.back().file));
    for (; done < keys.size(); ++done) {
        if (ending) return ended();
        const ManifestFile& file = *keys[done].file;
        std::shared_ptr<Unit> unit;
        {
            const std::lock_guard lock(mutex);
            unit = units.at(keys[done]);
            for (std::size_t i = done; i < keys.size(); ++i) note(*units.at(keys[i]));
        }
        CHRONOS_TRY(run.go_to(file));
        if (file.block_incremental()) {
            const repo::Repository at_hand = CHRONOS_TRY(run.hold());
            const LazyFile lazy = CHRONOS_TRY(LazyFile::open(at_hand, stanza, manifest, file));
            CHRONOS_TRY(collect(lazy, keys[done], *unit));
        } else {
            io::MemorySink whole(static_cast<std::size_t>(file.size));
            CHRONOS_TRY(run.read_whole(whole));
            CHRONOS_TRY(repo::check_content(manifest, file, whole.content.size(),
                                            crypto::sha1_hex(whole.content)));
            unit->parts = {{0, std::move(whole.content)}};
            unit->bytes = file.size;
        }
        publish(keys[done], {}, true);
    }
    return {};
}

/// Units of one file, those that touch in the repository by one read.
Result<> Content::State::read_units(const std::vector<Key>& keys, std::size_t& done) {
    std::unordered_map<std::size_t, std::shared_ptr<Unit>> by_number;
    std::vector<std::size_t> numbers;
    std::shared_ptr<const LazyFile> lazy;
    {
        const std::lock_guard lock(mutex);
        for (const Key& key : keys) {
            const std::shared_ptr<Unit>& unit = by_number[key.unit] = units.at(key);
            unit->parts.clear();
            unit->bytes = 0;
            lazy = unit->lazy;
            numbers.push_back(key.unit);
        }
    }
    CHRONOS_TRY(lazy->fetch(numbers, [&](std::uint64_t offset, io::Bytes in) -> Result<> {
        if (ending) return ended();
        for (const auto& [number, unit] : by_number) note(*unit);
        by_number.at(lazy->unit_at(offset))->add(offset, in);
        return {};
    }));
    for (; done < keys.size(); ++done) {
        Unit& unit = *by_number.at(keys[done].unit);
        unit.join();
        unit.lazy = nullptr;
        publish(keys[done], {}, true);
    }
    return {};
}

/// By as few reads as can be. What is damaged ends it: the others are fetched for themselves, which
/// says what is wrong with each.
void Content::State::fetch_run(const std::vector<Key>& keys) {
    std::size_t done = 0;
    Result<> result;
    try {
        result = in_one_unit(*keys.front().file) ? read_run(keys, done) : read_units(keys, done);
    } catch (const std::exception& exception) {
        result = Error(ErrorKind::internal, exception.what());
    }
    if (result) return;
    for (; done < keys.size(); ++done) {
        std::shared_ptr<Unit> unit;
        bool wanted = false;
        {
            const std::lock_guard lock(mutex);
            unit = units.at(keys[done]);
            wanted = unit->wanted;
        }
        if (!wanted && in_one_unit(*keys[done].file)) {
            publish(keys[done], result, true);
            continue;
        }
        try {
            publish(keys[done], fetch(keys[done], *unit), true);
        } catch (const std::exception& exception) {
            publish(keys[done], Error(ErrorKind::internal, exception.what()), true);
        }
    }
}

Content::Content(const repo::Repository& repository, const std::string& stanza,
                 const repo::Manifest& manifest, ContentLimits limits, Keep keep, InPlace in_place)
    : state_(std::make_unique<State>(repository, stanza, manifest, std::move(limits),
                                     std::move(keep), std::move(in_place))) {
    State& state = *state_;
    state.find_members();
    for (unsigned i = 0; i < std::max(1U, state.limits.workers); ++i)
        state.workers.emplace_back([&state] { state.work(State::Of::all); });
    for (unsigned i = 0; i < state.limits.for_who_waits; ++i)
        state.workers.emplace_back([&state] { state.work(State::Of::who_waits); });
}

Content::~Content() {
    {
        const std::lock_guard lock(state_->mutex);
        state_->ending = true;
    }
    state_->queued.notify_all();
    state_->queued_now.notify_all();
    for (std::thread& worker : state_->workers) worker.join();
}

int Content::read(const ManifestFile& file, std::uint64_t offset, std::size_t size,
                  const fuse::Interrupted& interrupted, std::string& content) {
    return read(file, offset, size, Turn::now, interrupted, content);
}

int Content::read_behind(const ManifestFile& file, std::uint64_t offset, std::size_t size,
                         const fuse::Interrupted& interrupted, std::string& content) {
    return read(file, offset, size, Turn::behind, interrupted, content);
}

int Content::read(const ManifestFile& file, std::uint64_t offset, std::size_t size, Turn turn,
                  const fuse::Interrupted& interrupted, std::string& content) {
    State& state = *state_;
    const std::uint64_t end = std::min<std::uint64_t>(file.size, offset + size);
    std::shared_ptr<const LazyFile> lazy;
    if (!in_one_unit(file)) {
        std::shared_ptr<Unit> map;
        const int error = state.acquire({&file, kMap}, nullptr, turn, interrupted, map);
        if (error != 0) return error;
        lazy = map->lazy;
        if (turn == Turn::now)
            state.read_ahead(file, lazy, offset, end);
        else
            state.ask_for_all(file, lazy, offset, end);
    }
    while (offset < end) {
        std::shared_ptr<Unit> unit;
        const Key key{&file, lazy ? lazy->unit_at(offset) : 0};
        if (const int error = state.acquire(key, lazy, turn, interrupted, unit); error != 0)
            return error;
        if (unit->in_place) return EAGAIN;
        const std::uint64_t part_end =
            std::min<std::uint64_t>(end, lazy ? lazy->part_end(offset) : file.size);
        unit->copy(offset, part_end, content);
        offset = part_end;
    }
    return 0;
}

void Content::fetch_ahead(const std::vector<const ManifestFile*>& files) {
    State& state = *state_;
    const std::lock_guard lock(state.mutex);
    std::vector<const ManifestFile*> members;
    for (const ManifestFile* const file : files) {
        const Key key{file, 0};
        if (file->size == 0 || file->size > kInMemoryMax || !in_one_unit(*file)) continue;
        if (state.is_kept(key)) continue;
        std::shared_ptr<Unit>& known = state.units[key];
        if (known != nullptr) continue;
        known = std::make_shared<Unit>();
        if (state.remote && state.place_of_member.contains(file))
            members.push_back(file);
        else
            state.ahead.push_back(key);
    }
    for (std::vector<Key>& run : state.runs_of(std::move(members)))
        state.runs_ahead.push_back(std::move(run));
    state.queued.notify_all();
}

ContentLimits limits_of(const FetchSettings& settings, const storage::Storage& storage) {
    ContentLimits limits;
    limits.cache_bytes = settings.cache_bytes;
    limits.spool_bytes = settings.spool_bytes;
    limits.spool_path = settings.spool_path;
    // What the storage has to say of it comes before that nothing came.
    limits.patience = *settings.io_timeout * 5 / 4;
    limits.workers =
        static_cast<unsigned>(storage::workers_for(storage, settings.process_max).threads);
    return limits;
}

ContentFigures Content::figures() const {
    const std::lock_guard lock(state_->mutex);
    return state_->figures;
}

}  // namespace chronos::ops::mount
