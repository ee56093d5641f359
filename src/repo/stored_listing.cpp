// Whether what a manifest lists is there, as far as names and sizes tell.
#include <algorithm>
#include <map>
#include <unordered_map>

#include "chronos/base/text.h"
#include "chronos/repo/manifest_store.h"
#include "chronos/repo/stored_file.h"

namespace chronos::repo {
namespace {

constexpr std::size_t kShown = 5;

/// Asks for sizes of objects of one backup: one listing where each question is a round trip, else
/// one question each, because a listing of millions of files takes memory.
class Sizes {
public:
    Sizes(storage::Storage& storage, std::string directory)
        : storage_(storage), directory_(std::move(directory)) {}

    Result<> prepare() {
        if (storage_.features().remote) listing_ = CHRONOS_TRY(storage_.list_tree(directory_));
        return {};
    }
    /// nullopt if there is no such file.
    Result<std::optional<std::uint64_t>> of(const std::string& object) const {
        if (!storage_.features().remote) {
            const auto entry = CHRONOS_TRY(storage_.info(object));
            if (!entry || entry->type != storage::EntryType::file)
                return std::optional<std::uint64_t>();
            return std::optional(entry->size);
        }
        const std::string_view name = std::string_view(object).substr(directory_.size() + 1);
        const auto at = std::ranges::lower_bound(
            listing_, name, {}, [](const auto& entry) { return std::string_view(entry.name); });
        if (at == listing_.end() || at->name != name) return std::optional<std::uint64_t>();
        return std::optional(at->size);
    }

private:
    storage::Storage& storage_;
    std::string directory_;
    std::vector<storage::Entry> listing_;
};

class Prover {
public:
    Prover(const Repository& repository, const std::string& stanza, const Manifest& manifest)
        : repository_(repository),
          stanza_(stanza),
          manifest_(manifest),
          sizes_(*repository.storage, backup_path(stanza, manifest.label)) {}

    Result<> run() {
        CHRONOS_TRY(sizes_.prepare());
        std::map<std::uint64_t, const ManifestFile*> bundles;  // the member that ends last
        for (const ManifestFile& file : manifest_.files) {
            // Of an empty file only the name is stored, and in a bundle not even that.
            if (!file.reference.empty() || (file.size == 0 && manifest_.bundle)) continue;
            if (!file.bundled()) {
                CHRONOS_TRY(look_at(file, file.size > 0));
                continue;
            }
            const ManifestFile*& last = bundles[file.bundle_id];
            if (last == nullptr || end_of(*last) < end_of(file)) last = &file;
        }
        for (const auto& [id, last] : bundles) CHRONOS_TRY(look_at(*last, true));
        return count_ == 0 ? Result<>() : failure();
    }

private:
    static std::uint64_t end_of(const ManifestFile& file) {
        return file.bundle_offset + file.repo_size;
    }

    Result<> look_at(const ManifestFile& file, bool size_known) {
        const std::string object = locate(stanza_, manifest_, file).object;
        const auto size = CHRONOS_TRY(sizes_.of(object));
        const std::uint64_t wanted = file.bundled() ? end_of(file) : file.repo_size;
        if (!size) note(object, "is missing");
        // Behind its last member a bundle may have one that is listed no more.
        else if (size_known && (file.bundled() ? *size < wanted : *size != wanted))
            note(object,
                 "has " + std::to_string(*size) + " bytes instead of " + std::to_string(wanted));
        return {};
    }

    void note(const std::string& object, const std::string& what) {
        if (++count_ <= kShown)
            found_ += "\n'" + printable(repository_.storage->describe(object)) + "' " + what;
    }

    Error failure() const {
        const std::string more =
            count_ > kShown ? "\nand " + std::to_string(count_ - kShown) + " more" : "";
        return Error(ErrorKind::repo_invalid, "what backup '" + manifest_.label +
                                                  "' has stored is not there any more:" + found_ +
                                                  more)
            .with_hint("Did somebody else write to this repository, or remove from it?");
    }

    const Repository& repository_;
    const std::string& stanza_;
    const Manifest& manifest_;
    Sizes sizes_;
    std::size_t count_ = 0;
    std::string found_;
};

}  // namespace

Result<> prove_stored(const Repository& repository, const std::string& stanza,
                      const Manifest& manifest) {
    return Prover(repository, stanza, manifest).run();
}

}  // namespace chronos::repo
