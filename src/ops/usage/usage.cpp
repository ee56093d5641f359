#include "chronos/ops/usage/usage.h"

#include <map>
#include <set>
#include <tuple>

namespace chronos::ops::usage {
namespace {

constexpr const char* kAreas[] = {"archive", "backup", "chronos"};

/// The directory directly below the stanza; "" for a file that lies there itself.
std::string item_of(const std::string& name) {
    const std::size_t slash = name.find('/');
    return slash == std::string::npos ? "" : name.substr(0, slash);
}

Result<std::set<std::string>> stanzas_of(storage::Storage& storage, const std::string& area) {
    std::set<std::string> stanzas;
    for (const storage::Entry& entry : CHRONOS_TRY(storage.list(area)))
        if (entry.type == storage::EntryType::path) stanzas.insert(entry.name);
    return stanzas;
}

Result<> measure_area(storage::Storage& storage, const UsageRow& place,
                      std::vector<UsageRow>& rows) {
    std::map<std::tuple<std::string, std::string>, UsageRow> found;
    for (const storage::Entry& entry :
         CHRONOS_TRY(storage.list_tree(place.area + "/" + place.stanza))) {
        const std::string item = item_of(entry.name);
        UsageRow& row = found.try_emplace({item, entry.storage_class}, place).first->second;
        row.item = item;
        row.storage_class = entry.storage_class;
        ++row.objects;
        row.bytes += entry.size;
    }
    for (auto& [key, row] : found) rows.push_back(std::move(row));
    return {};
}

Result<> measure_repository(const repo::Repository& repository, const std::string& only_stanza,
                            const Cancellation& cancel, std::vector<UsageRow>& rows) {
    std::set<std::tuple<std::string, std::string>> places;  // stanza, area
    for (const char* area : kAreas)
        for (const std::string& stanza : CHRONOS_TRY(stanzas_of(*repository.storage, area)))
            if (only_stanza.empty() || stanza == only_stanza) places.emplace(stanza, area);
    for (const auto& [stanza, area] : places) {
        CHRONOS_TRY(cancel.check());
        UsageRow place;
        place.repo_key = repository.key;
        place.stanza = stanza;
        place.area = area;
        CHRONOS_TRY(measure_area(*repository.storage, place, rows));
    }
    return {};
}

}  // namespace

Result<std::vector<UsageRow>> measure_usage(const UsageRequest& request,
                                            const Cancellation& cancel) {
    std::vector<UsageRow> rows;
    for (const repo::Repository& repository : request.repositories)
        CHRONOS_TRY_DOING(measure_repository(repository, request.stanza, cancel, rows),
                          "measure repo" + std::to_string(repository.key));
    return rows;
}

}  // namespace chronos::ops::usage
