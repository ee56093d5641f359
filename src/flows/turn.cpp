#include "chronos/flows/turn.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "chronos/base/activity.h"
#include "chronos/base/log.h"
#include "chronos/base/not_taken.h"
#include "chronos/db/standby.h"

namespace chronos::flows {
namespace {

/// While another server is at work there is nothing to hurry for.
constexpr std::chrono::seconds kPauseUnderWay(15);

struct Found {
    const repo::Repository* repository = nullptr;  ///< null: there is no stanza
    repo::TurnLook look;
};

Result<Found> look(const AwaitTurn& request) {
    Found found;
    bool missing = false;
    Result<> failed;
    for (const repo::Repository& repository : request.repositories) {
        auto looked = repo::Turn::look(repository, request.turn);
        if (looked) {
            found.repository = &repository;
            found.look = *std::move(looked);
            return found;
        }
        if (looked.error().kind() == ErrorKind::path_missing)
            missing = true;
        else if (failed)
            failed = std::move(looked).error();
    }
    if (missing || failed) return found;
    return std::move(failed).error().while_doing("see whose turn the run is");
}

bool is_promoted(db::Connection& connection) {
    const Result<> same = db::check_not_promoted(connection);
    return !same && same.error().kind() == ErrorKind::db_mismatch;
}

std::string made_by(const repo::TurnLook& look) {
    return "made by " + look.server + (look.label.empty() ? "" : ": " + look.label);
}

Error nobody(const AwaitTurn& request) {
    return Error(ErrorKind::db_connect,
                 std::string(kNotTaken) + " of schedule '" + request.turn.schedule + "' within " +
                     std::to_string(request.follows_for.count() / 1000) + " seconds")
        .with_hint(
            "Does one run, with the same schedules, stanza and chronos.backup_role? With"
            " prefer_standby the primary is backed up where no standby comes.");
}

Error failed_elsewhere(const repo::TurnLook& look) {
    return {look.kind, "on " + look.server + ": " + look.message};
}

}  // namespace

Result<AwaitedTurn> await_turn(const AwaitTurn& request, db::Connection& connection,
                               const ProgressReceiver& progress, const Cancellation& cancel) {
    const Deadline yielded(request.yields_for);
    Deadline followed(request.follows_for);
    // Hours of waiting outlive an outage of the repository.
    Deadline patience(request.follows_for);
    bool has_looked = false;
    std::string told;
    for (;; Activity::note()) {
        if (progress) progress({.phase = "turn"});
        const Result<Found> looked = look(request);
        if (!looked && (!has_looked || patience.passed())) return looked.error();
        if (!looked) {
            log_detail("whose turn it is cannot be seen: " + looked.error().message());
            CHRONOS_TRY(cancel.sleep(request.pause));
            continue;
        }
        has_looked = true;
        patience = Deadline(request.follows_for);
        const Found& found = *looked;
        if (found.repository == nullptr && request.part != TurnPart::follow) return AwaitedTurn{};
        switch (found.look.state) {
            case repo::TurnState::done: return AwaitedTurn{nullptr, made_by(found.look)};
            case repo::TurnState::failed:
                if (!request.standby) return failed_elsewhere(found.look);
                return AwaitedTurn{nullptr, failed_elsewhere(found.look).message()};
            case repo::TurnState::under_way:
                if (std::exchange(told, found.look.server) != found.look.server)
                    log_info("the run of schedule '" + request.turn.schedule + "' is made by " +
                             found.look.server);
                followed = Deadline(request.follows_for);
                CHRONOS_TRY(cancel.sleep(std::max<std::chrono::milliseconds>(
                    request.pause,
                    std::min<std::chrono::milliseconds>(kPauseUnderWay, request.pause * 3))));
                continue;
            case repo::TurnState::open: break;
        }
        if (request.standby && is_promoted(connection))
            return AwaitedTurn{nullptr, "the server was promoted before its turn came"};
        if (request.part == TurnPart::follow && followed.passed()) return nobody(request);
        if (request.part == TurnPart::take ||
            (request.part == TurnPart::yield && yielded.passed())) {
            auto turn = CHRONOS_TRY(repo::Turn::take(*found.repository, request.turn, found.look));
            if (turn) return AwaitedTurn{std::move(turn), ""};
            // Whoever was faster is seen at once; one whose write replaced ours, in a moment.
            CHRONOS_TRY(cancel.sleep(
                std::min<std::chrono::milliseconds>(request.pause, std::chrono::seconds(1))));
            continue;
        }
        CHRONOS_TRY(cancel.sleep(request.pause));
    }
}

void settle_failed_turn(std::unique_ptr<repo::Turn> turn, const AwaitTurn& request,
                        db::Connection& connection, const Error& error) {
    if (turn == nullptr || error.kind() == ErrorKind::cancelled) return;
    // A session that does not answer is that of a server which is gone.
    const Result<> standby = db::check_not_promoted(connection);
    if (!standby && (request.standby || standby.error().kind() != ErrorKind::db_mismatch)) return;
    if (const Result<> written = turn->failed(error); !written)
        log_warn("that the run has failed is not on record for the other servers: " +
                 written.error().message());
}

}  // namespace chronos::flows
