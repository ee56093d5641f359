#include "extension/job_options.h"

namespace chronos::extension {
namespace {

/// True if the text can be part of an option, which has a line of its own.
bool is_one_line(const char* text, int length) {
    for (int i = 0; i < length; ++i)
        if (static_cast<unsigned char>(text[i]) < ' ') return false;
    return true;
}

/// What the engine would refuse before it does anything, told to who asks instead of to the job.
bool is_annotation_key(const char* text, int length) {
    constexpr int kSizeMax = 66;  // pgBackRest's
    return length > 0 && length <= kSizeMax && is_one_line(text, length) &&
           memchr(text, '=', static_cast<size_t>(length)) == nullptr &&
           memchr(text, '"', static_cast<size_t>(length)) == nullptr &&
           memchr(text, '\\', static_cast<size_t>(length)) == nullptr;
}

void require_object(Jsonb* value, const char* what, const char* example) {
    if (JB_ROOT_IS_OBJECT(value)) return;
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("%s must be a JSON object", what), errhint("For example %s.", example)));
}

char* text_of(const JsonbValue* value) {
    return pnstrdup(value->val.string.val, value->val.string.len);
}

/// What stands behind "=" of an option; nullptr for null, true and false, which have no text.
const char* scalar_text(const JsonbValue* value) {
    if (value->type == jbvString) return text_of(value);
    if (value->type == jbvNumeric)
        return DatumGetCString(
            DirectFunctionCall1(numeric_out, NumericGetDatum(value->val.numeric)));
    return nullptr;
}

[[noreturn]] void refuse_value(const char* option) {
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("the value of option \"%s\" must be a text on one line, a number, a "
                           "boolean, or an array or object of such texts",
                           option)));
}

/// The object that the parser of options is in: its option, and its member if that is an object.
struct Place {
    const char* option;
    const char* member;
};

void append_value(StringInfo lines, const Place* place, const JsonbValue* value, bool nested) {
    const char* text = scalar_text(value);
    if (text == nullptr && value->type == jbvBool && !nested) {
        appendStringInfo(lines, "--%s%s\n", value->val.boolean ? "" : "no-", place->option);
        return;
    }
    if (text == nullptr || !is_one_line(text, static_cast<int>(strlen(text))))
        refuse_value(place->option);
    if (place->member != nullptr)
        appendStringInfo(lines, "--%s=%s=%s\n", place->option, place->member, text);
    else
        appendStringInfo(lines, "--%s=%s\n", place->option, text);
}

void enter_option(Place* place, const JobType* type, const JsonbValue* key) {
    place->option = text_of(key);
    place->member = nullptr;
    if (job_type_takes(type, place->option)) return;
    ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                    errmsg("a job of type %s takes no option \"%s\"", type->name, place->option),
                    errhint("What it does not take here can stand in the configuration file.")));
}

void enter_member(Place* place, const JsonbValue* key) {
    place->member = text_of(key);
    if (*place->member == '\0' || strchr(place->member, '=') != nullptr ||
        !is_one_line(place->member, static_cast<int>(strlen(place->member))))
        refuse_value(place->option);
}

}  // namespace

void append_annotations(StringInfo lines, Jsonb* annotations) {
    require_object(annotations, "annotations", "{\"reason\": \"before upgrade\"}");
    JsonbIterator* iterator = JsonbIteratorInit(&annotations->root);
    JsonbValue value;
    JsonbIteratorToken token;
    bool key_is_good = false;
    while ((token = JsonbIteratorNext(&iterator, &value, true)) != WJB_DONE) {
        if (token != WJB_KEY && token != WJB_VALUE) continue;
        const bool is_text = value.type == jbvString;
        const char* text = is_text ? value.val.string.val : "";
        const int length = is_text ? value.val.string.len : 0;
        if (token == WJB_KEY) key_is_good = is_annotation_key(text, length);
        if (!is_text || !key_is_good || !is_one_line(text, length))
            ereport(ERROR,
                    (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                     errmsg("annotations must have names without \"=\" and texts on one line"),
                     errhint("A name has 1 to 66 bytes, none of them a quote, backslash or control "
                             "character.")));
        if (token == WJB_KEY)
            appendStringInfo(lines, "--annotation=%.*s=", length, text);
        else
            appendStringInfo(lines, "%.*s\n", length, text);
    }
}

void append_options(StringInfo lines, const JobType* type, Jsonb* options) {
    require_object(options, "options", "{\"repo\": 1}");
    JsonbIterator* iterator = JsonbIteratorInit(&options->root);
    JsonbValue value;
    JsonbIteratorToken token;
    Place place = {};
    int depth = 0;
    while ((token = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE) {
        if (token == WJB_BEGIN_OBJECT || token == WJB_BEGIN_ARRAY) {
            if (++depth > 2) refuse_value(place.option);
        } else if (token == WJB_END_OBJECT || token == WJB_END_ARRAY) {
            --depth;
        } else if (token == WJB_KEY && depth == 1) {
            enter_option(&place, type, &value);
        } else if (token == WJB_KEY) {
            enter_member(&place, &value);
        } else {
            append_value(lines, &place, &value, depth > 1);
        }
    }
}

namespace {

bool has_option(Jsonb* options, const char* name) {
    if (!JB_ROOT_IS_OBJECT(options)) return false;
    JsonbValue key = {};
    key.type = jbvString;
    key.val.string.val = const_cast<char*>(name);
    key.val.string.len = static_cast<int>(strlen(name));
    return findJsonbValueFromContainer(&options->root, JB_FOBJECT, &key) != nullptr;
}

/// Answers come from the data of all tables, be it with yes or no.
bool asks_questions(const JobType* type, Jsonb* options) {
    return strcmp(type->name, "drill") == 0 && has_option(options, "assert");
}

/// What a backup leaves out is gone with the cluster.
bool leaves_files_out(const JobType* type, Jsonb* options) {
    return type->in_session && has_option(options, "exclude");
}

}  // namespace

bool still_permitted(const JobType* type, Jsonb* options, const char* name, Refusal* refusal) {
    const bool leaves_out = leaves_files_out(type, options);
    if (!leaves_out && !asks_questions(type, options)) return true;
    const Oid role = get_role_oid(name, /*missing_ok=*/true);
    const Oid driller = get_role_oid("chronos_driller", /*missing_ok=*/true);
    *refusal = leaves_out ? Refusal{"to leave files out of backups",
                                    "A superuser can set the option exclude in the configuration "
                                    "file, or make the schedule anew."}
                          : Refusal{"to ask the restored cluster questions",
                                    "A superuser can GRANT chronos_driller to the role, or make "
                                    "the schedule anew."};
    if (!OidIsValid(role)) return false;
    if (superuser_arg(role)) return true;
    // Known is who had the session: he may have made the schedule by SET ROLE.
    return !leaves_out && OidIsValid(driller) && is_member_of_role(role, driller);
}

void require_permitted(const JobType* type, Jsonb* options, Oid role) {
    if (superuser_arg(role)) return;
    if (leaves_files_out(type, options))
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("permission denied to leave files out of backups"),
                        errdetail("Only a superuser decides by \"exclude\" what a backup lacks."),
                        errhint("It can stand in the configuration file, for all backups.")));
    if (!asks_questions(type, options)) return;
    const Oid driller = get_role_oid("chronos_driller", /*missing_ok=*/true);
    if (OidIsValid(driller) && has_privs_of_role(role, driller)) return;
    ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                    errmsg("permission denied to ask the restored cluster questions"),
                    errdetail("A drill's assertions read every table, whoever may read it in this "
                              "cluster."),
                    errhint("A superuser can GRANT chronos_driller to who may; a drill without "
                            "assertions needs chronos_operator only.")));
}

}  // namespace chronos::extension
