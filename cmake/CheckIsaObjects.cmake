# cmake -DNM=nm "-DOBJECTS=a.isa.cc.o;…" -DSTAMP=… -P CheckIsaObjects.cmake
# Objects compiled for an instruction set define no weak function. A template or inline function of the standard library, or of
# a header that others include too, would be one where it is not inlined: the linker keeps one copy of all, and baseline code
# could get that of AVX-512.
set(bad "")
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND ${NM} -C --defined-only ${object} OUTPUT_VARIABLE symbols COMMAND_ERROR_IS_FATAL ANY)
  string(REGEX MATCHALL "[0-9a-f]+ W [^\n]*" weak "${symbols}")
  foreach(symbol IN LISTS weak)
    string(REGEX REPLACE "^[0-9a-f]+ W " "" symbol "${symbol}")
    string(APPEND bad "\n${object}: error: ${symbol}: write it out, or make it static or part of an unnamed namespace")
  endforeach()
endforeach()
if(bad)
  message(FATAL_ERROR "functions that the linker could hand to code for other instruction sets:${bad}")
endif()
file(TOUCH ${STAMP})
