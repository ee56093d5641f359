#include "ops/verify/stored_files.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <map>

#include "chronos/repo/stored_file.h"
#include "chronos/storage/forwarding.h"
#include "chronos/storage/parallel.h"
#include "ops/verify/file_check.h"

namespace chronos::ops::verify {
namespace {

/// How much of a bundle is fetched by one request: enough for the latency not to count, little
/// enough for many threads to do it at once.
constexpr std::uint64_t kPieceSize = std::uint64_t{8} << 20;

/// An object of the backup that is to be read.
struct Object {
    std::string name;  ///< in the repository
    storage::Entry entry;
    std::atomic<std::size_t> pieces_left{0};
    std::atomic<bool> damaged{false};
};

/// Files that lie one behind the other in an object.
struct Piece {
    Object* object = nullptr;
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::vector<std::uint32_t> files;  ///< indexes in the manifest
};

class StoredFiles {
public:
    StoredFiles(const Scope& scope, const StoredFilesRequest& request)
        : scope_(scope),
          request_(request),
          manifest_(request.manifest),
          damage_(manifest_.files.size(), kNoFinding) {}

    Result<std::vector<FindingId>> run() {
        plan();
        std::ranges::sort(pieces_, std::ranges::greater(), &Piece::size);
        for (const Piece& piece : pieces_) scope_.meter.expect(piece.size, 0);
        scope_.meter.expect(0, objects_.size());
        CHRONOS_TRY(io::parallel_for(scope_.workers(), pieces_.size(), scope_.cancel,
                                     [&](std::size_t i) { return read(pieces_[i]); }));
        return std::move(damage_);
    }

private:
    using FileIndexes = std::vector<std::uint32_t>;

    const repo::ManifestFile& file(std::uint32_t index) const { return manifest_.files[index]; }

    void plan() {
        std::map<std::string, FileIndexes> by_object;
        for (std::uint32_t i = 0; i < manifest_.files.size(); ++i) {
            const repo::ManifestFile& one = file(i);
            // Of an empty file only the name is stored, and in a bundle not even that.
            if (!one.reference.empty() || (one.size == 0 && manifest_.bundle)) continue;
            by_object[repo::locate(scope_.stanza(), manifest_, one).object].push_back(i);
        }
        for (auto& [object, files] : by_object) plan_object(object, std::move(files));
    }

    void plan_object(const std::string& name, FileIndexes files) {
        const std::string root = repo::backup_path(scope_.stanza()) + "/";
        const storage::Entry* entry = request_.listing.find(name.substr(root.size()));
        if (entry == nullptr) return fail(name, files, Problem::missing, "is missing");
        if (file(files[0]).bundled())
            drop_cut_off(name, *entry, files);
        else if (entry->size != file(files[0]).repo_size && file(files[0]).size > 0)
            return fail(name, files, Problem::size, wrong_size(*entry, file(files[0]).repo_size));
        std::erase_if(files, [&](std::uint32_t index) { return damage_[index] != kNoFinding; });
        const bool cut_off = !files.empty() && damaged_objects_.contains(name);
        if (files.empty() || file(files[0]).size == 0) return;
        if (!cut_off && request_.ledger.knows(*entry)) return scope_.meter.object_known();
        Object& object = objects_.emplace_back();
        object.name = name;
        object.entry = *entry;
        object.damaged = cut_off;
        cut_into_pieces(object, files);
    }

    static std::string wrong_size(const storage::Entry& entry, std::uint64_t expected) {
        return "has " + std::to_string(entry.size) + " bytes instead of " +
               std::to_string(expected);
    }

    /// Files behind the end of a bundle that is shorter than it was.
    void drop_cut_off(const std::string& name, const storage::Entry& entry,
                      const FileIndexes& files) {
        FileIndexes cut_off;
        std::uint64_t end = 0;
        for (const std::uint32_t index : files) {
            const std::uint64_t file_end = file(index).bundle_offset + file(index).repo_size;
            end = std::max(end, file_end);
            if (file_end > entry.size) cut_off.push_back(index);
        }
        if (cut_off.empty()) return;
        fail(name, cut_off, Problem::size, wrong_size(entry, end));
        damaged_objects_.insert(name);
    }

    void cut_into_pieces(Object& object, FileIndexes& files) {
        std::ranges::sort(files, {},
                          [&](std::uint32_t index) { return file(index).bundle_offset; });
        Piece* piece = nullptr;
        for (const std::uint32_t index : files) {
            const std::uint64_t offset = file(index).bundle_offset;
            const std::uint64_t end = offset + file(index).repo_size;
            const bool fits = piece != nullptr && end - piece->offset <= kPieceSize;
            if (!fits) {
                piece = &pieces_.emplace_back();
                *piece = {&object, offset, 0, {}};
                ++object.pieces_left;
            }
            piece->size = std::max(piece->size, end - piece->offset);
            piece->files.push_back(index);
        }
    }

    /// "pg_data/a, pg_data/b and 17 more files"
    std::string names_of(const FileIndexes& files) const {
        constexpr std::size_t kNamesMax = 3;
        std::string names;
        for (std::size_t i = 0; i < std::min(files.size(), kNamesMax); ++i)
            names += (i > 0 ? ", " : "") + file(files[i]).name;
        if (files.size() > kNamesMax)
            names += " and " + std::to_string(files.size() - kNamesMax) + " more files";
        return names;
    }

    /// One finding for an object, of which several files may suffer.
    void fail(const std::string& object, const FileIndexes& files, Problem problem,
              const std::string& message) {
        const std::string root = repo::backup_path(scope_.stanza(), manifest_.label) + "/";
        const std::string name = object.substr(root.size());
        const std::string holds =
            file(files[0]).bundled() ? "; it holds " + names_of(files) : std::string();
        const FindingId id =
            scope_.findings.fail({manifest_.label, name}, problem, message + holds);
        for (const std::uint32_t index : files) damage_[index] = id;
    }

    Result<> read(const Piece& piece) {
        const bool in_memory = piece.files.size() > 1 || file(piece.files[0]).bundled();
        CHRONOS_TRY(in_memory && piece.size <= kPieceSize ? read_at_once(piece)
                                                          : read_one(piece, scope_.repository));
        if (--piece.object->pieces_left > 0) return {};
        scope_.meter.object_done();
        if (piece.object->damaged) return {};
        request_.ledger.add(piece.object->entry);
        request_.ledger.save_every(scope_.request.save_interval);
        return {};
    }

    std::uint64_t memory_for(const Piece& piece) const {
        std::uint64_t bytes = storage::cost_of_reading(*scope_.direct.storage, piece.size);
        std::uint64_t rebuilt = 0;
        for (const std::uint32_t index : piece.files)
            if (request_.content && file(index).block_incremental() &&
                manifest_.type != repo::BackupType::full)
                rebuilt = std::max(rebuilt, std::min(file(index).size, kRebuildWindow));
        return bytes + rebuilt;
    }

    Result<> read_at_once(const Piece& piece) {
        const io::ByteBudget::Share share(scope_.budget, piece.size + memory_for(piece));
        std::string content(piece.size, '\0');
        auto fetched = fetch(piece, content);
        if (!fetched) {
            const auto damage = CHRONOS_TRY(as_damage(std::move(fetched).error()));
            piece.object->damaged = true;
            fail(piece.object->name, piece.files, damage->problem, damage->message);
            return {};
        }
        repo::Repository repository = scope_.repository;
        repository.storage = std::make_shared<storage::HeldRegion>(
            *scope_.repository.storage, piece.object->name, piece.offset, io::bytes(content));
        for (const std::uint32_t index : piece.files) CHRONOS_TRY(check(index, piece, repository));
        return {};
    }

    Result<> fetch(const Piece& piece, std::string& content) {
        const auto source = CHRONOS_TRY(
            scope_.repository.storage->open(piece.object->name, {piece.offset, piece.size}));
        const std::size_t count =
            CHRONOS_TRY(io::read_full(*source, std::as_writable_bytes(std::span(content))));
        if (count == content.size()) return {};
        return Error(ErrorKind::file_read, "ends at " + std::to_string(piece.offset + count) +
                                               " bytes, which is too early");
    }

    Result<> read_one(const Piece& piece, const repo::Repository& repository) {
        const io::ByteBudget::Share share(scope_.budget, memory_for(piece));
        return check(piece.files[0], piece, repository);
    }

    Result<> check(std::uint32_t index, const Piece& piece, const repo::Repository& repository) {
        CHRONOS_TRY(scope_.cancel.check());
        const bool content = request_.content || takes_sample(file(index));
        const auto damage = CHRONOS_TRY(check_file(
            {repository, scope_.stanza(), manifest_, file(index), request_.gone, content}));
        if (!damage) return {};
        piece.object->damaged = true;
        damage_[index] = scope_.findings.fail({manifest_.label, file(index).name.str()},
                                              damage->problem, damage->message);
        return {};
    }

    /// Small files are decoded until that costs something.
    bool takes_sample(const repo::ManifestFile& one) {
        constexpr std::uint64_t kSampleSize = std::uint64_t{1} << 20;
        constexpr std::uint64_t kSamplesMax = std::uint64_t{16} << 20;
        return one.size <= kSampleSize && !one.block_incremental() &&
               sampled_.fetch_add(one.size) < kSamplesMax;
    }

    const Scope& scope_;
    const StoredFilesRequest& request_;
    const repo::Manifest& manifest_;
    std::atomic<std::uint64_t> sampled_{0};  ///< bytes of content
    std::vector<FindingId> damage_;  ///< an element is written by the thread that has the file
    std::deque<Object> objects_;
    std::vector<Piece> pieces_;
    std::set<std::string> damaged_objects_;
};

}  // namespace

Result<std::vector<FindingId>> verify_stored_files(const Scope& scope,
                                                   const StoredFilesRequest& request) {
    return StoredFiles(scope, request).run();
}

}  // namespace chronos::ops::verify
