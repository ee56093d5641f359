// What lies under chronos/<stanza>/, as a stranger, a later release or a damaged disk may have left
// it: it is read or refused, and what was read can be written and read again as the same.
#include "chronos/base/owner_name.h"
#include "chronos/repo/side/drill.h"
#include "chronos/repo/side/hold.h"
#include "chronos/repo/side/kept_aside.h"
#include "chronos/repo/side/outside_config.h"
#include "chronos/repo/side/owner.h"
#include "chronos/repo/side/restore_note.h"
#include "chronos/repo/side/verify_result.h"
#include "chronos/repo/side/wal_notes.h"
#include "chronos/repo/timelines.h"
#include "chronos/repo/wal_archive.h"
#include "fuzz.h"
#include "memory_storage.h"

namespace {

using namespace chronos;
using namespace chronos::repo;

constexpr const char* kSegment = "000000010000000000000003";
constexpr const char* kLabel = "20261120-084849F";

Repository with(const std::string& object, std::string_view text) {
    Repository repository;
    repository.storage = std::make_shared<test::MemoryStorage>();
    require(static_cast<bool>(storage::write_object(*repository.storage, object, text)));
    return repository;
}
Repository empty_repository() {
    return with("backup/main/backup.info", "");
}

void check_hold(std::string_view text) {
    const auto holds =
        list_holds(with(std::string("chronos/main/hold/") + kLabel, text), "main", "");
    require(holds && holds->size() == 1);
    const Repository copy = empty_repository();
    require(static_cast<bool>(save_hold(copy, "main", holds->front(), "")));
    require(*list_holds(copy, "main", "") == *holds);
    format_local_time(holds->front().since);
}

void check_restore_note(std::string_view text) {
    const auto note =
        load_restore_note(with("chronos/main/restore/15-1", text), "main", "15-1", "");
    require(static_cast<bool>(note));
    if (!*note) return;
    const Repository copy = empty_repository();
    if (!save_restore_note(copy, "main", "15-1", **note, "")) return;
    const auto again = load_restore_note(copy, "main", "15-1", "");
    require(again && *again && (*again)->made == (*note)->made &&
            (*again)->timeline == (*note)->timeline);
}

void check_verify(std::string_view text) {
    const std::string directory = "chronos/main/verify/";
    const Repository repository = with(directory + "history", text);
    require(
        static_cast<bool>(storage::write_object(*repository.storage, directory + "result", text)));
    require(static_cast<bool>(
        storage::write_object(*repository.storage, directory + "unfinished", text)));
    const auto history = load_verify_history(repository, "main", "");
    require(history && !history->empty());
    const auto unfinished = load_unfinished_verify(repository, "main", "");
    require(static_cast<bool>(unfinished));
    const Repository copy = empty_repository();
    require(static_cast<bool>(save_verify_summary(copy, "main", history->back(), "")));
    const auto summary = load_verify_summary(copy, "main", "");
    require(summary && *summary && (*summary)->started == history->back().started &&
            (*summary)->failures == history->back().failures);
    if (*unfinished)
        require(static_cast<bool>(save_unfinished_verify(copy, "main", **unfinished, "")));
}

void check_wal_notes(std::string_view text) {
    const std::string gap = std::string("chronos/main/gap/15-1/") + kSegment;
    const auto gaps = list_gaps(with(gap, text), "main", "15-1", "");
    require(static_cast<bool>(gaps));
    const Repository copy = empty_repository();
    for (const WalGap& one : *gaps)
        require(static_cast<bool>(save_gap(copy, "main", "15-1", one, "")));
    require(*list_gaps(copy, "main", "15-1", "") == *gaps);
    const std::string commit = std::string("chronos/main/commit/15-1/") + kSegment;
    const auto note = last_commit_note(with(commit, text), "main", "15-1", kSegment,
                                       "0000000100000000000000FF", "");
    require(static_cast<bool>(note));
    if (!*note) return;
    require(static_cast<bool>(save_commit_notes(copy, "main", "15-1", {**note}, "")));
    require(*last_commit_note(copy, "main", "15-1", (*note)->segment, (*note)->segment, "") ==
            *note);
}

void check_outside_config(std::string_view text) {
    const Repository repository = with(std::string("chronos/main/config/") + kLabel, text);
    const auto loaded = load_outside_config(repository, "main", kLabel, "");
    const auto config = parse_outside_config(text);
    require(static_cast<bool>(loaded) == static_cast<bool>(config));
    if (!config) return;
    const Repository copy = empty_repository();
    require(static_cast<bool>(save_outside_config(copy, "main", kLabel, *config, "")));
    const auto again = load_outside_config(copy, "main", kLabel, "");
    require(again && *again == *loaded);
}

/// As the record of a timeline, of another one, and of who was refused there.
void check_owner(std::string_view text) {
    const std::string record = "chronos/main/owners/00000001";
    const Repository repository = with(record, text);
    for (const char* name :
         {"chronos/main/owners/00000001-refused", "chronos/main/owners/00000002"})
        require(static_cast<bool>(storage::write_object(*repository.storage, name, text)));
    const StanzaOwner owner(repository, "main");
    ServerIdentity self;
    self.host = "db1";
    self.boot_id = "boot";
    self.path = "/srv/pg";
    self.device = 1;
    self.inode = 2;
    self.system_id = 7;
    self.timeline = 1;
    (void)owner.recently_refused(self);
    (void)owner.owned_by_another(self);
    (void)owner.used_by_another(self);
    (void)owner.beside(self, "15-1");
    (void)owner.use(self, StanzaUse::change);
    require(static_cast<bool>(owner.claim(self)));
    require(static_cast<bool>(owner.use(self, StanzaUse::change)));
}

/// Lines of the input are names of objects.
void check_names(std::string_view text) {
    for (std::string_view rest = text; !rest.empty();) {
        const std::string name(rest.substr(0, rest.find('\n')));
        rest.remove_prefix(std::min(rest.size(), name.size() + 1));
        if (const auto archived = parse_archived_name(name))
            require(is_archived_segment(name) == !archived->partial &&
                    archived_segment_object("main", "15-1", std::string(archived->segment),
                                            std::string(archived->checksum), archived->compression)
                        .ends_with(archived->partial ? std::string_view() : name));
        if (const auto drill = parse_drill_name(name))
            require(parse_drill_name(drill_name(drill->finished, drill->passed, drill->id))
                        .has_value());
        const Repository repository = empty_repository();
        const std::string object = std::string("chronos/main/stream/15-1/") + kSegment + "/" + name;
        if (name.empty() || !storage::write_object(*repository.storage, object, "x")) continue;
        const auto pieces = list_wal_pieces(repository, "main", "15-1");
        require(static_cast<bool>(pieces));
        for (const WalPiece& piece : *pieces) {
            const Repository copy = empty_repository();
            require(static_cast<bool>(
                storage::write_object(*copy.storage, piece.object("main", "15-1"), "x")));
            const auto again = list_wal_pieces(copy, "main", "15-1", piece.segment);
            require(again && again->size() == 1 && again->front().begin == piece.begin &&
                    again->front().end == piece.end && again->front().checksum == piece.checksum &&
                    again->front().commit_us == piece.commit_us);
        }
        joined_by_segment(*pieces);
    }
    drill_recovery_time(text);
}

/// Two histories of one archive, which may contradict each other.
void check_timelines(std::string_view text) {
    const std::string directory = "archive/main/15-1/";
    const std::size_t half = text.find('\0');
    const Repository repository = with(directory + "00000005.history", text.substr(0, half));
    if (half != std::string_view::npos)
        require(static_cast<bool>(storage::write_object(
            *repository.storage, directory + "00000009.history", text.substr(half + 1))));
    require(static_cast<bool>(storage::write_object(
        *repository.storage,
        directory + "0000000100000000/" + kSegment + "-0123456789012345678901234567890123456789",
        "")));
    const auto timelines = load_timelines(repository, "main", "15-1", "");
    require(static_cast<bool>(timelines));
    timelines->segments_known(1, 1u << 24);
    const auto lost = find_lost_histories(repository, "main", "15-1", "");
    require(static_cast<bool>(lost));
    for (const LostHistory& one : *lost)
        if (one.way.told_by != 0 && one.doubt.empty())
            require(static_cast<bool>(mend_history(repository, one, "")));
    for (const auto& [timeline, way] : timelines->ways)
        require(pgdata::parse_timeline_history(format_timeline_history(way)).value() ==
                way.switches);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    constexpr void (*kChecks[])(std::string_view) = {
        check_hold,           check_restore_note, check_verify, check_wal_notes,
        check_outside_config, check_owner,        check_names,  check_timelines};
    Input input(data, size);
    // Nobody reads that as a text in a repository that is not encrypted.
    if (size > 0 && input.rest().substr(1).starts_with("Salted__")) return 0;
    kChecks[input.byte() % std::size(kChecks)](input.rest());
    return 0;
}
