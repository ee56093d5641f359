#include "flows/restored_past.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>
#include <memory>
#include <optional>
#include <utility>

#include "chronos/base/log.h"
#include "chronos/base/text.h"
#include "chronos/flows/drill.h"
#include "chronos/flows/find_drop.h"
#include "chronos/repo/side/mount_hold.h"
#include "flows/selection.h"
#include "flows/shown.h"

namespace chronos::flows {
namespace {

using ops::drill::Look;
using ops::drill::RestoredBackup;
using ops::drill::Scratch;
using ops::restore::RecoveryType;
using ops::restore::RestorePlan;
using ops::restore::RestoreRequest;

/// Each is a recovery. What the last one names is there in the next; more happens where tables
/// change their partitions while the backup is made, and renamed databases.
constexpr int kServersMax = 8;
/// ignore_invalid_pages came with it.
constexpr std::uint64_t kMajorMin = 13;

std::string_view relation_of_line(std::string_view line) {
    constexpr std::string_view kBegin = "WARNING:  page ", kOf = " of relation ";
    const std::size_t begin = line.find(kBegin);
    if (begin == std::string_view::npos) return {};
    line.remove_prefix(begin + kBegin.size());
    const std::size_t number = line.find_first_not_of("0123456789");
    if (number == 0 || number == std::string_view::npos) return {};
    line.remove_prefix(number);
    if (!line.starts_with(kOf)) return {};
    line.remove_prefix(kOf.size());
    return line.substr(0, line.find(' '));
}

Result<> check_line(std::string_view line, const Selection& selection) {
    const std::string_view relation = relation_of_line(line);
    if (relation.empty() || selection.is_zeroed_relation(relation) || !selection.is_asked(relation))
        return {};
    return Error(ErrorKind::runtime,
                 "the WAL changes a page that the backup does not have, of relation " +
                     printable(relation))
        .with_hint("Another backup (--set) may have it; chronos verify looks at all of them.");
}

class RestoredPast {
public:
    RestoredPast(const LookRequest& request, const ReadInPast& read,
                 const std::function<Result<>(const Look&)>& work, const ProgressReceiver& progress,
                 const Cancellation& cancel)
        : request_(request),
          read_(read),
          work_(work),
          progress_(progress),
          cancel_(cancel),
          server_(request.server) {
        // Named last, whoever asked for something else.
        server_.settings["ignore_invalid_pages"] = "on";
        server_.settings["log_min_messages"] = "warning";
        server_.settings["log_error_verbosity"] = "terse";
    }

    Result<> run() {
        for (int server = 0; server < kServersMax && !done_; ++server)
            CHRONOS_TRY(ops::drill::run_opened(
                server_,
                [&](const Scratch& scratch, RestoredBackup& backup) {
                    return restore(scratch, backup);
                },
                [&](const Look& look) { return look_at(look); }, progress_, cancel_));
        if (done_) return {};
        return Error(ErrorKind::runtime, "each of " + std::to_string(kServersMax) +
                                             " servers has named other files of the tables");
    }

private:
    Result<RestoreRequest> request_into(const Scratch& scratch) const {
        RestoreRequest restore = CHRONOS_TRY(request_.restore(scratch.data(), scratch.spool()));
        if (!label_.empty()) restore.set = label_;
        return restore;
    }

    /// Which backup it is does not change from here on.
    Result<> choose(const Scratch& scratch) {
        const RestoreRequest request =
            restore_into(CHRONOS_TRY(request_into(scratch)), scratch, std::nullopt);
        const RestorePlan plan = CHRONOS_TRY(ops::restore::plan_restore(request));
        const repo::Manifest& manifest = plan.manifest;
        const std::string& version = manifest.pg_version;
        if (parse_uint(version.substr(0, version.find('.'))).value_or(0) < kMajorMin)
            return Error(ErrorKind::feature_not_supported,
                         "the backup is of PostgreSQL " + version +
                             ", of which tables are not recovered without a mount")
                .with_hint("chronos drill --keep makes a copy that they can be taken from.");
        label_ = manifest.label;
        is_ahead_ = read_.tables && plan.type != RecoveryType::immediate;
        for (const repo::ManifestDatabase& database : manifest.databases)
            if (database.name == "template1" || database.name == server_.database ||
                database.name == read_.request.home.database)
                selection_.add_database(database.oid);
        hold(request, plan);
        return {};
    }

    void hold(const RestoreRequest& request, const RestorePlan& plan) {
        auto held = repo::MountHold::take(
            request.repositories.at(plan.repository_index),
            {request.stanza, label_, request.pg_path, request_.mount.exec_id, /*for_look=*/true});
        if (held)
            hold_ = *std::move(held);
        else
            log_warn("backup " + label_ + " may expire while it is read: " + held.error().text());
    }

    Result<std::shared_ptr<void>> restore(const Scratch& scratch, RestoredBackup& backup) {
        if (label_.empty()) CHRONOS_TRY(choose(scratch));
        RestoreRequest request = CHRONOS_TRY(request_into(scratch));
        if (is_ahead_) {
            request.type = RecoveryType::immediate;
            request.target = "";
            request.target_exclusive = false;
            // It goes no farther than the backup.
            request.target_timeline = "";
        }
        request = restore_into(std::move(request), scratch, std::nullopt);
        plan_ = CHRONOS_TRY(ops::restore::plan_restore(request));
        // That it ends before the target is said to nobody.
        if (is_ahead_) plan_.warnings.clear();
        // Estimates of the room that all of it needs.
        std::erase_if(plan_.problems, [](const auto& problem) { return !problem.certain; });
        CHRONOS_TRY_DOING(selection_.find_catalogs(request.repositories.at(plan_.repository_index),
                                                   request.stanza, plan_.manifest),
                          "look for catalogs in backup " + label_);
        const std::uint64_t size = size_of_selection();
        CHRONOS_TRY(check_room(size));
        describe(plan_, request, backup);
        backup.size_bytes = size;
        backup.file_count = plan_.file_count;
        log_info("restore " + format_size(size) + " of the " + format_size(plan_.size_bytes) +
                 " of backup " + label_ +
                 (is_ahead_ ? ", to see which files are needed" : ", what is needed of it"));
        request.zeroed = [this](std::string_view name) { return selection_.is_zeroed(name); };
        CHRONOS_TRY(ops::restore::run_restore(request, plan_, cancel_, progress_));
        return std::shared_ptr<void>();
    }

    std::uint64_t size_of_selection() const {
        std::uint64_t size = 0;
        for (const repo::ManifestFile& file : plan_.manifest.files)
            if (!selection_.is_zeroed(file.name.view())) size += file.size;
        return size;
    }

    /// What the server adds comes on top: WAL, and the pages that it changes.
    Result<> check_room(std::uint64_t size) const {
        constexpr std::uint64_t kServer = std::uint64_t{256} << 20;
        const std::uint64_t needed = size + size / 10 + kServer;
        for (const ops::restore::RestoreSpace& space : plan_.space)
            if (needed > space.free_bytes)
                return Error(ErrorKind::file_write, "what is restored for the tables needs " +
                                                        format_size(needed) + " in '" + space.path +
                                                        "', free are " +
                                                        format_size(space.free_bytes))
                    .with_hint("drill-path names another directory.");
        return {};
    }

    Result<> look_at(const Look& look) {
        const ops::table::Past past = past_of(look);
        const std::string data = Scratch{look.directory}.data();
        const auto database =
            CHRONOS_TRY(ops::table::database_in_past(read_.request, past, cancel_));
        if (database.oid != 0) {
            const bool is_new = !selection_.has_database(database.oid);
            selection_.add_database(database.oid);
            if (!is_restored_database(data, database.directory)) {
                log_info("the WAL makes the database: all files are restored");
                selection_.add_everything();
                return {};
            }
            if (is_new) return {};
            // What the catalogs say counts only where all of them are there.
            const auto catalogs = ops::table::catalog_files_in_past(read_.request, past, cancel_);
            if (!catalogs && catalogs.error().kind() == ErrorKind::db_connect &&
                !selection_.is_everything()) {
                // One that was rewritten while the backup was made is not found in it.
                log_info("a catalog is missing: all files are restored: " +
                         catalogs.error().message());
                selection_.add_everything();
                return {};
            }
            if (add_missing(CHRONOS_TRY(catalogs))) return {};
            if (read_.tables &&
                add_missing(
                    CHRONOS_TRY(ops::table::table_files_in_past(read_.request, past, cancel_))) &&
                !is_ahead_)
                return {};
        }
        if (std::exchange(is_ahead_, false)) return {};
        CHRONOS_TRY(check_log(Scratch{look.directory}.log()));
        CHRONOS_TRY(remove_zeroed(data));
        done_ = true;
        const Result<> worked = work_(look);
        if (worked || worked.error().message().find("could not open file") == std::string::npos)
            return worked;
        return Error(worked.error())
            .with_hint(
                "Nothing was mounted: of the database the tables that were named are there, and no "
                "others, which --where may not ask for either.");
    }

    /// Whether its directory is the one that was restored. The WAL of a database that is made, or
    /// goes to another tablespace, may copy files of another directory, where they are zeros.
    bool is_restored_database(const std::string& data, const std::string& directory) const {
        if (selection_.is_everything()) return true;
        const std::string name = directory + "/PG_VERSION";
        const repo::ManifestFile* const file = file_of_backup(name);
        struct stat now {};
        return file != nullptr && ::stat((data + "/" + name).c_str(), &now) == 0 &&
               now.st_mtime == file->timestamp;
    }

    /// Whether some of the backup's were not restored. They are in the next one.
    bool add_missing(const std::vector<std::string>& paths) {
        bool is_missing = false;
        for (const std::string& path : paths) {
            if (!selection_.is_zeroed_relation(path)) continue;
            selection_.add_relation(path);
            // One that is not logged has nothing but that fork.
            for (const std::string& file : {path, path + "_init"})
                is_missing = is_missing || file_of_backup(file) != nullptr;
        }
        return is_missing;
    }

    /// As the server names it.
    const repo::ManifestFile* file_of_backup(const std::string& path) const {
        const repo::ManifestFile* const file = plan_.manifest.find_file("pg_data/" + path);
        return file != nullptr ? file : plan_.manifest.find_file(path);
    }

    Result<> check_log(const std::string& path) const {
        std::ifstream log(path);
        if (!log) return system_error(ErrorKind::file_open, "unable to open '" + path + "'", errno);
        for (std::string line; std::getline(log, line);) CHRONOS_TRY(check_line(line, selection_));
        return {};
    }

    /// From here on who reads them gets an error, in place of zeros.
    Result<> remove_zeroed(const std::string& data) const {
        constexpr std::string_view kData = "pg_data/";
        for (const repo::ManifestFile& file : plan_.manifest.files) {
            std::string_view name = file.name.view();
            if (!selection_.is_zeroed(name)) continue;
            if (name.starts_with(kData)) name.remove_prefix(kData.size());
            const std::string path = data + "/" + std::string(name);
            if (::unlink(path.c_str()) != 0 && errno != ENOENT)
                return system_error(ErrorKind::file_remove, "unable to remove '" + path + "'",
                                    errno);
        }
        return {};
    }

    const LookRequest& request_;
    const ReadInPast& read_;
    const std::function<Result<>(const Look&)>& work_;
    const ProgressReceiver& progress_;
    const Cancellation& cancel_;
    ops::drill::DrillRequest server_;
    std::string label_;
    std::unique_ptr<repo::MountHold> hold_;
    Selection selection_;
    RestorePlan plan_;
    bool is_ahead_ = false;  ///< of the target: where the backup is consistent
    bool done_ = false;
};

}  // namespace

Result<> check_found_pages(std::string_view log, const Selection& selection) {
    for (const std::string_view line : split(log, '\n')) CHRONOS_TRY(check_line(line, selection));
    return {};
}

Result<> run_in_restored_past(const LookRequest& request, const ReadInPast& read,
                              const std::function<Result<>(const Look&)>& work,
                              const ProgressReceiver& progress, const Cancellation& cancel) {
    return RestoredPast(request, read, work, progress, cancel).run();
}

}  // namespace chronos::flows
