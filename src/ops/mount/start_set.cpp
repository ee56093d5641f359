#include "ops/mount/start_set.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "chronos/base/text.h"

namespace chronos::ops::mount {
namespace {

/// In the order in which a server wants them.
enum class Need { start, session, likely, at_the_end, none };

using Name = std::string_view;

template <std::size_t count>
bool is_one_of(Name name, const std::array<Name, count>& names) {
    return std::ranges::find(names, name) != names.end();
}

/// The catalogs that initdb has made, and their indexes, that a session reads before it answers
/// its first question: pg_class, pg_attribute, pg_type, pg_proc, pg_index, pg_am, pg_amproc,
/// pg_opclass, pg_namespace, pg_operator, pg_aggregate, pg_statistic.
bool is_read_by_each_session(std::uint64_t relation) {
    constexpr std::array<std::uint64_t, 31> kCatalogs{
        1247, 1249, 1255, 1259, 2600, 2601, 2602, 2603, 2610, 2615, 2616,
        2617, 2619, 2650, 2651, 2652, 2654, 2655, 2658, 2659, 2662, 2663,
        2678, 2679, 2684, 2685, 2687, 2688, 2690, 2691, 2703};
    return std::ranges::binary_search(kCatalogs, relation);
}

/// Of the files right below the data directory.
bool is_read_at_start(Name name) {
    constexpr std::array<Name, 5> kNames{"PG_VERSION", "backup_label", "tablespace_map",
                                         "recovery.signal", "standby.signal"};
    return is_one_of(name, kNames) || name.ends_with(".conf");
}

/// Their last file has the pages that a server goes on with.
constexpr std::array<Name, 4> kOfTransactions{"pg_xact/", "pg_commit_ts/", "pg_multixact/offsets/",
                                              "pg_multixact/members/"};

Need need_of_relation(Name file) {
    if (file == "PG_VERSION" || file == "pg_filenode.map") return Need::session;
    // Those that initdb has made; who was rewritten since has another number, and is asked for.
    constexpr std::uint64_t kFirstOfUsers = 16384;
    const std::size_t fork = std::min(file.find('_'), file.size());
    const auto number = parse_uint(file.substr(0, fork));
    if (number && *number < kFirstOfUsers)
        return fork == file.size() && is_read_by_each_session(*number) ? Need::session
                                                                       : Need::likely;
    // From these a server that opens makes the unlogged relations anew.
    return number && file.substr(fork) == "_init" ? Need::at_the_end : Need::none;
}

class Choice {
public:
    Choice(const repo::Manifest& manifest, const std::vector<std::string>& databases) {
        for (const repo::ManifestDatabase& database : manifest.databases)
            if (std::ranges::find(databases, database.name) != databases.end())
                oids_.insert(database.oid);
        for (const repo::ManifestFile& file : manifest.files) add(file);
        for (const auto& [directory, file] : last_of_transactions_)
            files_[static_cast<std::size_t>(Need::start)].push_back(file);
    }

    std::vector<const repo::ManifestFile*> take() const {
        std::vector<const repo::ManifestFile*> files;
        std::uint64_t stored_bytes = 0;
        for (const auto& of_need : files_)
            for (const repo::ManifestFile* const file : of_need) {
                if (stored_bytes + file->repo_size > kStartSetMax) return files;
                stored_bytes += file->repo_size;
                files.push_back(file);
            }
        return files;
    }

private:
    void add(const repo::ManifestFile& file) {
        if (file.size > kStartFileMax) return;
        const Need need = need_of(file);
        if (need == Need::none) return;
        const bool is_sure = need == Need::start || need == Need::session;
        if (is_sure || file.bundled()) files_[static_cast<std::size_t>(need)].push_back(&file);
    }

    Need need_of(const repo::ManifestFile& file) {
        constexpr Name kData = "pg_data/";
        Name name = file.name.view();
        if (name.starts_with(kData)) name.remove_prefix(kData.size());
        const std::size_t slash = name.rfind('/');
        if (slash == Name::npos) return is_read_at_start(name) ? Need::start : Need::none;
        const Name directory = name.substr(0, slash + 1);
        const Name own = name.substr(slash + 1);
        if (directory == "global/" || directory == "pg_twophase/" ||
            name == "pg_logical/replorigin_checkpoint")
            return Need::start;
        if (is_one_of(directory, kOfTransactions)) {
            const repo::ManifestFile*& last = last_of_transactions_[directory];
            if (last == nullptr || last->timestamp <= file.timestamp) last = &file;
            return Need::none;
        }
        if (directory.starts_with("base/") || directory.starts_with("pg_tblspc/"))
            return need_of_relation(own, directory.substr(0, slash));
        return Need::none;
    }

    /// `directory` is that of a database, in a tablespace or in "base".
    Need need_of_relation(Name file, Name directory) const {
        const Need need = mount::need_of_relation(file);
        if (need == Need::at_the_end || oids_.empty()) return need;
        const auto oid = parse_uint(directory.substr(directory.rfind('/') + 1));
        return oid && *oid <= UINT32_MAX && oids_.contains(static_cast<std::uint32_t>(*oid))
                   ? need
                   : Need::none;
    }

    std::set<std::uint32_t> oids_;
    std::map<Name, const repo::ManifestFile*> last_of_transactions_;
    std::array<std::vector<const repo::ManifestFile*>, static_cast<std::size_t>(Need::none)> files_;
};

}  // namespace

std::vector<const repo::ManifestFile*> start_set(const repo::Manifest& manifest,
                                                 const std::vector<std::string>& databases) {
    return Choice(manifest, databases).take();
}

}  // namespace chronos::ops::mount
