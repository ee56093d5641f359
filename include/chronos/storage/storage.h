#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chronos/base/clock.h"
#include "chronos/io/stream.h"

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
    /// As atomic, but only where there is no object of the name: finish() fails with file_exists
    /// otherwise, and of several that come at once one succeeds. A store without conditional
    /// writes may let a second one replace the first; whoever has to know reads back what is there.
    exclusive,
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

/// An upload in parts that was begun and has not ended: it costs money and shows in no listing.
struct PendingUpload {
    ObjectName name;
    std::string upload_id;
    UnixTime initiated = 0;
};

/// What a store can do that has large objects uploaded in parts.
class MultipartUploads {
public:
    virtual ~MultipartUploads() = default;

    virtual Result<std::vector<PendingUpload>> pending() = 0;
    /// Succeeds if it is gone already.
    virtual Result<> abort(const PendingUpload& upload) = 0;
    /// Begins one and leaves it: to see whether that is permitted.
    virtual Result<PendingUpload> begin(const ObjectName& name) = 0;
};

/// A flat set of named objects: a directory tree, a bucket, or memory.
///
/// Any method may be called from any thread; what it returns belongs to one thread at a time.
/// What an implementation reports is the outcome: failures that pass by themselves it has waited
/// for already, each as its medium wants it (a bucket's requests are repeated by its client, a
/// disk's calls are not). Each passes test/support/storage_contract.h.
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

    /// Null where there are none. Belongs to the storage; any thread.
    virtual MultipartUploads* uploads() { return nullptr; }

    /// Hints, which may be ignored and never fail: what will be asked of this storage soon. One
    /// that keeps answers (ListedOnce) may ask by a thread of its own meanwhile, and gives whoever
    /// comes with the question that answer. What a question refers to must outlive the storage.
    // NOLINTNEXTLINE(performance-unnecessary-value-param): who asks keeps it
    virtual void ask_ahead(std::function<void()> /*question*/) {}
    /// An object that will be opened, once and whole.
    virtual void read_ahead(const ObjectName& /*name*/) {}
};

/// Whole small objects (info files, manifests, history): at most `size_max` bytes.
Result<std::string> read_object(Storage& storage, const ObjectName& name,
                                std::size_t size_max = std::size_t{1} << 30);
Result<> write_object(Storage& storage, const ObjectName& name, std::string_view content,
                      WriteMode mode = WriteMode::atomic);
Result<bool> exists(Storage& storage, const ObjectName& name);

/// Whether a name has the form that ObjectName promises, and no component "." or "..": names may
/// come from a manifest that somebody tampered with. "" is a name only where a directory is meant.
bool is_object_name(std::string_view name);

}  // namespace chronos::storage
