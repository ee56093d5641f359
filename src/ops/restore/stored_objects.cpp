#include "ops/restore/stored_objects.h"

#include <functional>
#include <map>
#include <set>
#include <unordered_map>

#include "chronos/base/text.h"
#include "chronos/repo/stored_file.h"
#include "chronos/storage/parallel.h"
#include "chronos/storage/readable.h"
#include "ops/restore/copy.h"
#include "ops/restore/destination.h"
#include "ops/restore/selective.h"

namespace chronos::ops::restore {
namespace {

/// Object => how many bytes of it are read, by the backup that it lies in.
using Needed = std::unordered_map<std::string, std::uint64_t>;

struct Damage {
    std::vector<std::string> names;  ///< the first ones
    bool more = false;
};
/// So many are named, and asked for one by one.
constexpr std::size_t kNamedMax = 3;

/// By the label of the backup that they lie in.
using NeededOf = std::map<std::string, Needed>;

NeededOf needed_objects(const RestoreRequest& request, const RestorePlan& plan,
                        const repo::Manifest& manifest, const std::set<std::uint32_t>& zeroed) {
    NeededOf needed;
    // Blocks of it may be all that is read of a backup.
    for (const std::string& label : manifest.references) needed[label];
    for (const repo::ManifestFile& file : manifest.files) {
        if (file.size == 0 || is_never_restored(plan, file.name) || is_zeroed(zeroed, file.name))
            continue;
        const repo::StoredLocation at = repo::locate(request.stanza, manifest, file);
        const std::string label(file.reference.empty() ? std::string_view(manifest.label)
                                                       : file.reference.view());
        std::uint64_t& bytes = needed[label][at.object];
        bytes = std::max(bytes, at.range.offset_bytes + file.repo_size);
    }
    return needed;
}

/// A list leaves out links, which may be how somebody has moved a part to another disk: what is not
/// in it is asked for by its name.
Result<> ask_for(storage::Storage& storage, const std::string& object, std::uint64_t bytes,
                 Damage& damage) {
    if (damage.names.size() == kNamedMax) {
        damage.more = true;
        return {};
    }
    const auto entry = CHRONOS_TRY(storage.info(object));
    if (!entry)
        damage.names.push_back("'" + printable(object) + "' is missing");
    else if (!storage::may_read(storage, object))
        damage.names.push_back("'" + printable(object) + "' cannot be read: permission denied");
    else if (entry->type == storage::EntryType::file && entry->size < bytes)
        damage.names.push_back("'" + printable(object) + "' has " + std::to_string(entry->size) +
                               " of " + std::to_string(bytes) + " bytes");
    return {};
}

Result<Damage> damage_of(storage::Storage& storage, const std::string& directory, Needed needed) {
    Damage damage;
    const bool any = !needed.empty();
    const auto entries = CHRONOS_TRY(storage.list_tree(directory));
    for (const storage::Entry& entry : entries) {
        const auto found = needed.find(directory + "/" + entry.name);
        if (found != needed.end() && entry.size >= found->second &&
            storage::may_read(storage, found->first))
            needed.erase(found);
    }
    if (!any && entries.empty() && !CHRONOS_TRY(storage.info(directory)))
        damage.names.push_back("'" + printable(directory) + "' is missing");
    for (const auto& [object, bytes] : std::map(needed.begin(), needed.end()))
        CHRONOS_TRY(ask_for(storage, object, bytes, damage));
    return damage;
}

Error not_whole(const RestoreRequest& request, unsigned repo_key, const std::string& label,
                const Damage& damage) {
    std::string text = "backup " + label + " is not whole in repo" + std::to_string(repo_key) +
                       ": " + join(damage.names, ", ");
    if (damage.more) text += " and more";
    return Error(ErrorKind::not_found, std::move(text))
        .with_hint(
            "Is all of the repository mounted, and may this user read it? --set chooses another "
            "backup, --repo another "
            "repository; 'chronos --stanza=" +
            request.stanza + " verify' says which backups can be restored.");
}

/// One for each backup of which something is not there.
Result<std::vector<Error>> errors_of(const RestoreRequest& request,
                                     const repo::Repository& repository, const NeededOf& needed) {
    storage::Storage& storage = *repository.storage;
    std::map<std::string, Result<Damage>> damages;
    std::vector<std::function<Result<>()>> questions;
    for (const auto& [label, objects] : needed) {
        Result<Damage>& damage = damages.emplace(label, Damage{}).first->second;
        const std::string directory = repo::backup_path(request.stanza, label);
        questions.push_back([&storage, &objects = objects, &damage, directory]() -> Result<> {
            damage = damage_of(storage, directory, objects);
            return {};
        });
    }
    CHRONOS_TRY(storage::at_once(storage, questions));
    std::vector<Error> errors;
    for (auto& [label, damage] : damages)
        if (!damage)
            errors.push_back(std::move(damage).error());
        else if (!damage->names.empty())
            errors.push_back(not_whole(request, repository.key, label, *damage));
    return errors;
}

/// What the restore is going to find there when it misses something where it reads.
enum class StandIn { none, not_whole, whole };

Result<StandIn> best_stand_in(const RestoreRequest& request, const RestorePlan& plan,
                              const std::set<std::uint32_t>& zeroed) {
    StandIn best = StandIn::none;
    for (const repo::Repository& repository : request.repositories) {
        if (repository.key == plan.repo_key) continue;
        const auto manifest = manifest_of_stand_in(request, plan, repository);
        if (!manifest) continue;
        const auto errors = CHRONOS_TRY(
            errors_of(request, repository, needed_objects(request, plan, *manifest, zeroed)));
        best = std::max(best, errors.empty() ? StandIn::whole : StandIn::not_whole);
    }
    return best;
}

}  // namespace

Result<> judge_stored_objects(const RestoreRequest& request, RestorePlan& plan) {
    const auto zeroed = CHRONOS_TRY(databases_to_zero(request, plan.manifest));
    const repo::Repository& repository = request.repositories[plan.repository_index];
    std::vector<Error> errors = CHRONOS_TRY(
        errors_of(request, repository, needed_objects(request, plan, plan.manifest, zeroed)));
    if (errors.empty()) return {};
    const StandIn stand_in = CHRONOS_TRY(best_stand_in(request, plan, zeroed));
    for (Error& error : errors)
        if (stand_in == StandIn::whole)
            plan.warnings.push_back(error.message() + "; another repository stands in");
        else
            // Two that are not whole may be whole together: only the copying would say.
            plan.problems.push_back({std::move(error), stand_in == StandIn::none});
    return {};
}

}  // namespace chronos::ops::restore
