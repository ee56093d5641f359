#include <libxml/parser.h>

#include "chronos/base/late_library.h"

namespace {
constinit chronos::LateLibrary xml(CHRONOS_XML_LIBRARY);
}

CHRONOS_LATE(xml, xmlParserCtxtPtr, xmlCreatePushParserCtxt,
             (xmlSAXHandlerPtr handler, void* context, const char* chunk, int size,
              const char* name),
             (handler, context, chunk, size, name))
CHRONOS_LATE(xml, int, xmlCtxtUseOptions, (xmlParserCtxtPtr parser, int options), (parser, options))
CHRONOS_LATE(xml, int, xmlParseChunk,
             (xmlParserCtxtPtr parser, const char* chunk, int size, int terminate),
             (parser, chunk, size, terminate))
CHRONOS_LATE(xml, void, xmlFreeParserCtxt, (xmlParserCtxtPtr parser), (parser))
CHRONOS_LATE(xml, void, xmlStopParser, (xmlParserCtxt * parser), (parser))
