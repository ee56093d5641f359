// What earlier verifications have found good, as a damaged or foreign repository may have it: read
// or passed over, and what is known afterwards is what is saved.
#include "fuzz.h"
#include "memory_storage.h"
#include "ops/verify/ledger.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace chronos;
    using ops::verify::Ledger;
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    repo::Repository repository;
    repository.storage = std::make_shared<test::MemoryStorage>();
    const std::string object = ops::verify::ledger_path("main") + "/backup/20261120-084849F";
    require(storage::write_object(*repository.storage, object, text) &&
            storage::write_object(*repository.storage, "backup/main/backup.info", "") &&
            storage::write_object(*repository.storage, "backup/main/a", "1"));
    const Ledger::Place place{&repository, object, "", "backup/main"};
    storage::Entry entry;
    entry.name = "a";
    entry.size = 1;
    std::string key;
    {
        Ledger ledger = Ledger::load(place);
        key = ledger.key();
        ledger.knows(entry);
        ledger.add(entry);
        ledger.save();
    }
    Ledger again = Ledger::load(place);
    require(again.key() == key && again.knows(entry));
    again.expect("another");
    require(!again.knows(entry));
    return 0;
}
