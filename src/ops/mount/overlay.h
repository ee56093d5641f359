#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "chronos/base/result.h"
#include "chronos/fuse/file_system.h"
#include "chronos/repo/manifest.h"
#include "ops/mount/overlay_file.h"

namespace chronos::ops::mount {

/// The files of a backup as a directory that a server can run in: what it changes is kept in sparse
/// files of this machine, as long as this object lives, and what it only reads is the backup's. No
/// change is durable, and none reaches the backup.
///
/// The root has two directories. `data` is the data directory, as a restore without mappings would
/// make it: what lay behind links is in its place, tablespace_map is left out. In `tablespaces`
/// there is a directory for each tablespace, named by its oid, to which links of pg_tblspc lead: a
/// server ends its recovery when it finds anything else there.
///
/// Files are told apart by what they are and not by their names: one that is made under the name of
/// a former one is a new one, and one that is renamed stays what it is.
///
/// The kernel gathers what is written, and tells nobody but who syncs that it could not be kept, as
/// on a full disk: who reads it later would find what had been there before. So from then on every
/// file is EIO, and check() says why.
class Overlay final : public fuse::WritableFileSystem {
public:
    /// A range of a file of the manifest, which lies in it: 0 or an errno.
    using ReadBackup =
        std::function<int(const repo::ManifestFile& file, std::uint64_t offset, std::size_t size,
                          const fuse::Interrupted& interrupted, std::string& content)>;

    static constexpr std::string_view kData = "data";
    static constexpr std::string_view kTablespaces = "tablespaces";

    /// All belongs to who makes it. `mount_path` is where it will be seen, for the links;
    /// `scratch_path` an empty directory for the sparse files. The manifest has passed
    /// repo::check_manifest_places(), and outlives it.
    Overlay(const repo::Manifest& manifest, ReadBackup read_backup, const std::string& mount_path,
            std::string scratch_path);
    ~Overlay() override;

    /// What a fetch has brought of a file of the manifest: true if all of that is here now, or
    /// nobody can ask for it any more. Only while there is room: more than kRoomMin bytes are left
    /// to what the server writes.
    bool keep(const repo::ManifestFile& file, const std::vector<Piece>& pieces);
    static constexpr std::uint64_t kRoomMin = std::uint64_t{256} << 20;
    /// Kind file_write, if something that was written is lost.
    Result<> check() const;

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
    int read_symlink(fuse::NodeId link, std::string& target) override;
    int link(fuse::NodeId file, fuse::NodeId directory, std::string_view name,
             fuse::Attributes& now) override;
    int unlink(fuse::NodeId directory, std::string_view name) override;
    int remove_directory(fuse::NodeId directory, std::string_view name) override;
    int rename(fuse::NodeId directory, std::string_view name, fuse::NodeId new_directory,
               std::string_view new_name, bool keep_existing) override;
    int write(fuse::NodeId file, std::uint64_t offset, std::string_view content,
              const fuse::Interrupted& interrupted) override;
    int change(fuse::NodeId node, const fuse::Change& change, fuse::Attributes& now) override;
    void release(fuse::NodeId file) override;
    void forget(fuse::NodeId node, std::uint64_t times) override;

private:
    struct Node;
    using NodePointer = std::shared_ptr<Node>;

    NodePointer find(fuse::NodeId id) const;
    int find_directory(fuse::NodeId id, NodePointer& directory) const;
    NodePointer child_of(const Node& directory, std::string_view name) const;
    NodePointer add(Node& directory, std::string_view name, mode_t mode);
    int make(fuse::NodeId directory, std::string_view name, mode_t type, const fuse::Making& making,
             NodePointer& made);
    void attach(Node& directory, std::string_view name, const NodePointer& node);
    void detach(Node& directory, std::string_view name);
    void drop_if_unused(const NodePointer& node);
    Node& directory_of(Node& root, std::string_view path, mode_t mode);
    std::string sparse_path(fuse::NodeId id) const;
    fuse::Attributes attributes_of(const Node& node) const;
    int find_file(fuse::NodeId id, std::shared_ptr<OverlayFile>& file, bool written);
    void lose(int error);

    const ReadBackup read_backup_;
    const std::string scratch_path_;
    const uid_t user_;
    const gid_t group_;

    mutable std::mutex mutex_;  ///< of names and attributes; what files contain has its own
    std::unordered_map<fuse::NodeId, NodePointer> nodes_;
    fuse::NodeId last_id_ = 0;
    std::uint64_t backup_bytes_ = 0;
    /// Does not change.
    std::unordered_map<const repo::ManifestFile*, std::weak_ptr<OverlayFile>> of_backup_;
    std::atomic<int> lost_{0};  ///< what kept something that was written from being kept
};

}  // namespace chronos::ops::mount
