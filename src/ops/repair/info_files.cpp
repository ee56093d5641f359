#include "ops/repair/info_files.h"

#include "chronos/base/text.h"
#include "chronos/repo/manifest_store.h"

namespace chronos::ops::repair {
namespace {

using As = FoundFile::As;

struct Opened {
    std::size_t there = 0;
    std::size_t opened = 0;
    std::optional<Error> crypto;
};

/// With the passphrase of the repository, or the one before it.
template <class Info>
Result<FoundFile> find_file(const Place& place, const std::string& name,
                            Result<Info> (*parse)(std::string_view), std::optional<Info>& info,
                            Opened& opened) {
    FoundFile file;
    const repo::Repository& repository = place.repository;
    if (std::string other = CHRONOS_TRY(what_is_in_the_way(place, name)); !other.empty())
        return FoundFile{As::blocked, "", std::move(other)};
    for (const std::string* pass : {&repository.passphrase, &repository.previous_passphrase}) {
        if (pass != &repository.passphrase && pass->empty()) continue;
        auto text = repo::read_text(repository, name, *pass);
        if (!text && text.error().kind() == ErrorKind::not_found) return FoundFile{};
        const bool content = text || text.error().kind() == ErrorKind::format ||
                             text.error().kind() == ErrorKind::crypto;
        if (!content) return std::move(text).error();
        auto value = text ? parse(*text) : Result<Info>(text.error());
        if (value) {
            ++opened.there, ++opened.opened;
            info = std::move(*value);
            return FoundFile{As::good, std::move(*text), ""};
        }
        if (!text && text.error().kind() == ErrorKind::crypto) opened.crypto = text.error();
        if (text) ++opened.opened;
        if (file.as != As::damaged)
            file = {As::damaged, "", printable(value.error().message(), 300)};
    }
    ++opened.there;
    return file;
}

template <class Info>
Result<FoundInfo<Info>> find_pair(const Place& place, const std::string& name,
                                  Result<Info> (*parse)(std::string_view), Opened& opened) {
    FoundInfo<Info> found{name, {}, {}, {}};
    std::optional<Info> copy;
    found.main = CHRONOS_TRY(find_file(place, name, parse, found.info, opened));
    found.copy = CHRONOS_TRY(find_file(place, name + ".copy", parse, copy, opened));
    if (!found.info) found.info = std::move(copy);
    return found;
}

std::string state_text(const FoundFile& file) {
    return file.as == As::missing ? "is missing" : "cannot be read: " + file.why;
}

/// "; what is there now goes to chronos/main/aside/..." where something is in the way.
template <class Info>
std::string room_text(const Place& place, const FoundInfo<Info>& found) {
    if (found.main.as != As::blocked && found.copy.as != As::blocked) return "";
    return "; what is in its place is moved to " + place.aside;
}

/// The damaged ones of a pair, before they are written over.
template <class Info>
Result<> keep_damaged(const Place& place, const FoundInfo<Info>& found) {
    const auto keep = [&](const FoundFile& file, const std::string& name) -> Result<> {
        if (file.as == As::damaged) return keep_aside(place, name);
        // Of two steps for a pair the first has made room.
        return file.as == As::blocked ? make_room(place, name) : Result<>();
    };
    CHRONOS_TRY(keep(found.main, found.name));
    return keep(found.copy, found.name + ".copy");
}

Result<> save(const Place& place, const repo::ArchiveInfo& info) {
    return repo::save_archive_info(place.repository, place.stanza, info);
}
Result<> save(const Place& place, const repo::BackupInfo& info) {
    return repo::save_backup_info(place.repository, place.stanza, info);
}

template <class Info>
void mend(const Place& place, const FoundInfo<Info>& found, Plan::Stage stage, Plan& plan) {
    if (!found.info || (found.main.as == As::good && found.copy.as == As::good &&
                        found.main.text == found.copy.text))
        return;
    const bool main_counts = found.main.as == As::good;
    const std::string object = main_counts ? found.name + ".copy" : found.name;
    const FoundFile& other = main_counts ? found.copy : found.main;
    const std::string wrong =
        other.as == As::good ? "says something else than " + found.name : state_text(other);
    plan.add(stage,
             {object, wrong,
              "written anew from " + std::string(main_counts ? "the main file" : "its copy") +
                  room_text(place, found)},
             [&place, found]() -> Result<> {
                 CHRONOS_TRY(keep_damaged(place, found));
                 return save(place, *found.info);
             });
}

}  // namespace

template <class Info>
std::string what_is_wrong(const FoundInfo<Info>& found) {
    if (found.missing()) return "is missing, and so is its copy";
    return state_text(found.main) + "; its copy " + state_text(found.copy);
}
template std::string what_is_wrong(const FoundInfo<repo::ArchiveInfo>&);
template std::string what_is_wrong(const FoundInfo<repo::BackupInfo>&);

Result<FoundInfos> find_infos(const Place& place) {
    Opened opened;
    FoundInfos found;
    found.archive = CHRONOS_TRY(
        find_pair(place, repo::archive_info_name(place.stanza), repo::parse_archive_info, opened));
    found.backup = CHRONOS_TRY(
        find_pair(place, repo::backup_info_name(place.stanza), repo::parse_backup_info, opened));
    if (opened.there > 0 && !found.archive.info && !found.backup.info && opened.crypto)
        return *std::move(opened.crypto);
    return found;
}

void mend_pair(const Place& place, const FoundInfo<repo::ArchiveInfo>& found, Plan& plan) {
    mend(place, found, Plan::Stage::archive_info, plan);
}

void mend_pair(const Place& place, const FoundInfo<repo::BackupInfo>& found, Plan& plan) {
    mend(place, found, Plan::Stage::backup_info, plan);
}

void rewrite(const Place& place, const FoundInfo<repo::ArchiveInfo>& found, repo::ArchiveInfo info,
             const std::string& wrong, const std::string& why, Plan& plan) {
    plan.add(Plan::Stage::archive_info, {found.name, wrong, why + room_text(place, found)},
             [&place, found, info = std::move(info)]() -> Result<> {
                 CHRONOS_TRY(keep_damaged(place, found));
                 return save(place, info);
             });
}

void rewrite(const Place& place, const FoundInfo<repo::BackupInfo>& found, repo::BackupInfo info,
             const std::string& wrong, const std::string& why, Plan& plan) {
    plan.add(Plan::Stage::backup_info, {found.name, wrong, why + room_text(place, found)},
             [&place, found, info = std::move(info)]() -> Result<> {
                 CHRONOS_TRY(keep_damaged(place, found));
                 return save(place, info);
             });
}

}  // namespace chronos::ops::repair
