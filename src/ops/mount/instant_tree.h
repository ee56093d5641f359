#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/fuse/file_system.h"
#include "chronos/os/durable.h"
#include "chronos/os/file.h"
#include "ops/mount/instant_file.h"
#include "ops/mount/presence_table.h"

namespace chronos::ops::mount {

/// A data directory as it will be, served while parts of its files are still in the backup. Names,
/// files, modes and owners are those of the directory below the mount: what is changed is changed
/// there, and what is whole is only passed on. When all is whole, nothing is left to do but to
/// unmount.
///
/// A file of which a part is missing has an attribute that says which entry of the table is its:
/// so it goes with the file, whatever name that gets, and with the last of them. A file that has
/// none is the server's own. An inode's number would do as much only together with its generation,
/// which not every file system tells, and not without a moment in which a number is used again and
/// the table does not know it.
///
/// global/pg_control has kGuarded behind its name below: no server starts in a directory that is
/// not whole. So have the directories of a tablespace: who looks past the mount finds nothing, in
/// place of zeros. Neither that nor kState is seen in the mount.
class InstantTree final : public fuse::WritableFileSystem {
public:
    static constexpr std::string_view kState = ".chronos-lazy";
    static constexpr std::string_view kControl = "global/pg_control";
    static constexpr std::string_view kGuarded = ".chronos-lazy";
    static constexpr const char* kAttribute = "user.chronos.lazy";

    /// A range of the file of an entry, which lies in it: 0 or an errno.
    using FetchOf = std::function<int(std::size_t entry, std::uint64_t offset, std::size_t size,
                                      const fuse::Interrupted& interrupted, std::string& content)>;

    /// The attribute of the file that has the entry.
    static std::string attribute_of(std::uint64_t id, std::size_t entry);

    /// What the directory is of a cluster, of which all parts have one table.
    struct Part {
        enum class Kind { data_directory, tablespace };
        Kind kind = Kind::data_directory;
        /// Of a tablespace, as long as the data directory is not whole.
        bool guard = true;
        /// Whether the file of an entry was made in this part; empty if all were.
        std::vector<bool> entries;
        /// Paths of links to directories elsewhere that are shown as if the directories were here.
        std::set<std::string, std::less<>> links;
    };
    /// Who has worked in the directory before: somebody who has synced it, or perhaps one that
    /// died.
    enum class Before { synced, died };
    /// Looks at the whole directory, which nobody changes any more but this; what one that died has
    /// left there is made durable before anything is answered. `root` was opened before anything is
    /// mounted on it; `path` is for messages. The table outlives it. Kinds: those of
    /// InstantFile::resume(), path_open, file_sync, path_sync.
    static Result<std::unique_ptr<InstantTree>> open(os::FileDescriptor root, std::string path,
                                                     std::uint64_t id, PresenceTable& table,
                                                     FetchOf fetch, Before before, Part part);
    static Result<std::unique_ptr<InstantTree>> open(os::FileDescriptor root, std::string path,
                                                     std::uint64_t id, PresenceTable& table,
                                                     FetchOf fetch, Before before) {
        return open(std::move(root), std::move(path), id, table, std::move(fetch), before, Part());
    }
    static constexpr fuse::NodeId kStatusNode = UINT64_MAX - 1;
    ~InstantTree() override;

    /// What a file Tree::kStatusName in the root says, which no listing shows. Before the first
    /// question.
    void set_status(std::function<std::string()> status) { status_ = std::move(status); }
    /// What a fetch has brought of an entry's file: true if all of that is here now, or nobody can
    /// ask for it any more.
    bool keep(std::size_t entry, const std::vector<Piece>& pieces);
    /// See InstantFile::lay().
    bool lay(std::size_t entry, std::uint64_t offset, std::string_view content);
    void laid(std::size_t entry);
    /// Null if it is gone. Any thread, as all.
    std::shared_ptr<InstantFile> file_of(std::size_t entry) const;
    std::uint64_t missing_bytes() const;
    /// What has come is noted in the table: it is not fetched again after a power failure.
    Result<> note_all();
    /// Nothing is missing for anybody: from here on the directory may be started as it is. True if
    /// so. To be called after the last part has come. Kinds: file_move, path_sync, those of
    /// note_all().
    Result<bool> publish();
    bool is_published() const;
    /// A file is open.
    bool in_use() const;
    std::uint64_t free_bytes() const;

    int lookup(fuse::NodeId directory, std::string_view name, fuse::Attributes& found) override;
    int attributes(fuse::NodeId node, fuse::Attributes& found) override;
    int list(fuse::NodeId directory, std::uint64_t first, const AddEntry& add) override;
    int open(fuse::NodeId file, fuse::Opened& how) override;
    int read(fuse::NodeId file, std::uint64_t offset, std::size_t size,
             const fuse::Interrupted& interrupted, std::string& content) override;
    fuse::Totals totals() override;

    int create(fuse::NodeId directory, std::string_view name, const fuse::Making& making,
               fuse::Attributes& made) override;
    int make_directory(fuse::NodeId directory, std::string_view name, const fuse::Making& making,
                       fuse::Attributes& made) override;
    int make_symlink(fuse::NodeId directory, std::string_view name, std::string_view target,
                     const fuse::Making& making, fuse::Attributes& made) override;
    int make_special(fuse::NodeId directory, std::string_view name, fuse::Special kind,
                     const fuse::Making& making, fuse::Attributes& made) override;
    int read_symlink(fuse::NodeId link, std::string& target) override;
    int link(fuse::NodeId file, fuse::NodeId directory, std::string_view name,
             fuse::Attributes& now) override;
    int unlink(fuse::NodeId directory, std::string_view name) override;
    int remove_directory(fuse::NodeId directory, std::string_view name) override;
    int rename(fuse::NodeId directory, std::string_view name, fuse::NodeId new_directory,
               std::string_view new_name, bool keep_existing) override;
    int write(fuse::NodeId file, std::uint64_t offset, std::string_view content,
              const fuse::Interrupted& interrupted) override;
    int allocate(fuse::NodeId file, std::uint64_t offset, std::uint64_t size,
                 bool keep_size) override;
    int change(fuse::NodeId node, const fuse::Change& change, fuse::Attributes& now) override;
    void release(fuse::NodeId file) override;
    void forget(fuse::NodeId node, std::uint64_t times) override;
    bool is_durable() const override { return true; }
    int sync(fuse::NodeId node) override;

private:
    struct Node;
    using NodePointer = std::shared_ptr<Node>;
    class Scan;

    InstantTree(os::FileDescriptor root, std::string path, std::uint64_t id, PresenceTable& table,
                FetchOf fetch, Part part);

    NodePointer find(fuse::NodeId id) const;
    int find_directory(fuse::NodeId id, NodePointer& directory) const;
    NodePointer child_of(const Node& directory, std::string_view name) const;
    NodePointer add(Node& directory, std::string_view name, mode_t mode);
    void attach(Node& directory, std::string_view name, const NodePointer& node);
    void detach(Node& directory, std::string_view name);
    void drop_if_unused(const NodePointer& node);
    int pin(Node& node);
    int check_new(fuse::NodeId directory, std::string_view name, NodePointer& parent,
                  std::string& path) const;
    NodePointer made(Node& directory, std::string_view name, mode_t mode,
                     const fuse::Making& making);
    int give(const std::string& path, const fuse::Making& making) const;
    std::string path_of(const Node& node) const;
    std::string path_in(const Node& directory, std::string_view name) const;
    bool is_guarded_below(const std::string& path, std::string_view name) const;
    bool has_guard() const;
    Result<> take_guard_off(Node& node);
    bool is_reserved(const Node& directory, std::string_view name) const;
    fuse::Attributes status_attributes(const Node& root) const;
    fuse::Attributes attributes_of(const Node& node) const;
    int find_file(fuse::NodeId id, std::shared_ptr<InstantFile>& file, bool written);
    InstantFile::Open opener_of(const NodePointer& node);
    os::FileDescriptor open_at(const std::string& path) const;
    int open_lower(const std::weak_ptr<Node>& node, std::shared_ptr<LowerFile>& file) const;
    Result<> sync_below();
    void remove_attributes();

    const os::FileDescriptor root_;
    const std::string root_path_;
    const std::uint64_t id_;
    PresenceTable& table_;
    const FetchOf fetch_;
    const Part part_;
    std::function<std::string()> status_;
    os::FileSystems file_systems_;
    bool all_covered_ = true;  ///< by file_systems_

    /// Of names and attributes; what files contain has its own, which comes before this one.
    mutable std::mutex mutex_;
    std::unordered_map<fuse::NodeId, NodePointer> nodes_;
    fuse::NodeId last_id_ = 0;
    std::vector<std::weak_ptr<InstantFile>> of_entry_;
    std::vector<std::weak_ptr<Node>> node_of_entry_;
    std::vector<std::weak_ptr<Node>> guarded_;
    std::uint64_t open_files_ = 0;
    bool published_ = false;
};

}  // namespace chronos::ops::mount
