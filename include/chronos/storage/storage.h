#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/io/stream.h"
#include "chronos/io/worker_pool.h"

namespace chronos::storage {

/// A name below the root of a storage: path components joined by '/', no leading or trailing '/',
/// no empty component. "" names the root itself where a directory is meant.
using ObjectName = std::string;

enum class EntryType { file, path, link, special };

struct Entry {
    std::string name;  ///< relative to the listed directory; with '/' when listed recursively
    EntryType type = EntryType::file;
    std::uint64_t size = 0;  ///< files only
    UnixTime modified = 0;
    std::string link_destination;  ///< links only
    std::string storage_class;     ///< where a store has classes, as it calls them
};

/// How an object is written.
enum class WriteMode {
    /// Appears under its name whole and durable at finish(), or not at all: a temporary name,
    /// fsync, rename, fsync of the directory; one PUT on an object store.
    atomic,
    /// May be visible before it is whole, and is durable only after sync_tree() of a directory
    /// above it. For the data files of a backup, which nothing refers to until its manifest exists.
    plain,
};

/// What an implementation can do beyond objects.
struct Features {
    bool paths = false;  ///< directories exist on their own, with modes
    bool links = false;  ///< symbolic and hard links
    bool atomic_rename = false;
    bool remote = false;  ///< every call costs a round trip, of which many may be under way
};

/// A range of an object: `size_bytes` from `offset_bytes` on; no size means to the end.
struct Range {
    std::uint64_t offset_bytes = 0;
    std::optional<std::uint64_t> size_bytes = std::nullopt;
};

/// A flat set of named objects: a directory tree, a bucket, or memory.
///
/// Any method may be called from any thread; what it returns belongs to one thread at a time.
/// An implementation makes one attempt and reports the outcome: waiting and repeating is done by
/// RetryingStorage, which wraps all of them alike. Each passes test/support/storage_contract.h.
class Storage {
public:
    virtual ~Storage() = default;

    virtual Features features() const = 0;
    /// For messages: what a person would call the object, e.g. "/var/lib/pgbackrest/a/b" or
    /// "s3://bucket/a/b".
    virtual std::string describe(const ObjectName& name) const = 0;

    /// Fails with not_found if there is no such object; callers treat that as an answer. A range
    /// that the object does not cover is an error of kind file_read when it is read.
    virtual Result<std::unique_ptr<io::Source>> open(const ObjectName& name, Range range = {}) = 0;

    /// Missing directories are made. The sink owns nothing of the caller; destroyed without
    /// finish() an atomic object does not appear.
    virtual Result<std::unique_ptr<io::Sink>> create(const ObjectName& name, WriteMode mode) = 0;

    /// nullopt if there is no such object or directory.
    virtual Result<std::optional<Entry>> info(const ObjectName& name) = 0;

    /// The entries directly in a directory, sorted by name; empty if there is no such directory.
    /// `name_prefix` limits the answer to names that begin with it.
    virtual Result<std::vector<Entry>> list(const ObjectName& directory,
                                            const std::string& name_prefix = "") = 0;
    /// All files below a directory, sorted by name, their names relative to it. Links are neither
    /// listed nor followed.
    virtual Result<std::vector<Entry>> list_tree(const ObjectName& directory) = 0;

    /// Succeeds if the object is already gone, so that an interrupted expire can be run again.
    virtual Result<> remove(const ObjectName& name) = 0;
    /// A directory and all below it; succeeds if it is already gone. Never follows a link.
    virtual Result<> remove_tree(const ObjectName& directory) = 0;

    /// Makes a directory and its parents; nothing to do where features().paths is false.
    virtual Result<> make_path(const ObjectName& directory) = 0;
    /// Replaces a symbolic link; nothing to do where features().links is false.
    virtual Result<> make_link(const ObjectName& name, const std::string& destination) = 0;

    /// Returns when everything written below `directory` so far survives a power failure.
    virtual Result<> sync_tree(const ObjectName& directory) = 0;
};

/// Whole small objects (info files, manifests, history): at most `size_max` bytes.
Result<std::string> read_object(Storage& storage, const ObjectName& name,
                                std::size_t size_max = std::size_t{1} << 30);
Result<> write_object(Storage& storage, const ObjectName& name, std::string_view content,
                      WriteMode mode = WriteMode::atomic);
Result<bool> exists(Storage& storage, const ObjectName& name);

/// How many threads should read or write objects of `storage` at once when `process_max` may
/// compute: a thread for each where storage is near, enough to keep a distant link busy where not.
io::Workers workers_for(const Storage& storage, std::size_t process_max);
/// Runs questions of which none needs another's answer: at the same time where each of them is a
/// round trip, else one after the other. The first error; the others may have been asked or not.
Result<> at_once(const Storage& storage, const std::vector<std::function<Result<>()>>& questions);
/// A question for at_once() whose answer is put into `value`.
template <class Value, class Question>
std::function<Result<>()> answer_into(Value& value, Question question) {
    return [&value, question]() -> Result<> {
        value = CHRONOS_TRY(question());
        return {};
    };
}
/// What the objects under way of such threads may keep in memory in all, and what one of a size
/// counts (stages, parts under way, answers not yet taken); 0 where storage is near.
inline constexpr std::uint64_t kBytesInFlightMax = std::uint64_t{128} << 20;
std::uint64_t cost_of_writing(const Storage& storage, std::uint64_t size_bytes);
std::uint64_t cost_of_reading(const Storage& storage, std::uint64_t size_bytes);

/// Whether a name has the form that ObjectName promises, and no component "." or "..": names may
/// come from a manifest that somebody tampered with. "" is a name only where a directory is meant.
bool is_object_name(std::string_view name);

/// Modes of what a repository holds; the process umask does not narrow them when neutral_umask.
struct PosixOptions {
    mode_t file_mode = 0640;
    mode_t path_mode = 0750;
    bool neutral_umask = true;
};

/// A directory tree below `root` (absolute). Temporary names end in ".pgbackrest.tmp", which
/// readers of the format ignore; list() and list_tree() leave them out.
std::unique_ptr<Storage> make_posix_storage(std::string root, PosixOptions options = {});

}  // namespace chronos::storage
