# Compiles the CUDA twins: cmake -DNVCC=... -DXLA_FFI_INCLUDE_DIR=... -DARCHITECTURES=... -DOUTPUT=... -P build.cmake
#
# A failure is a warning: without them, plain JAX serves GPUs, and everything else is as it was. The oldest three
# generations are compiled for; later ones compile the last of them again when the library is loaded. With ARCHITECTURES
# "native" it is only the GPU of this machine, in a third of the time.
if(ARCHITECTURES STREQUAL "native")
  set(architectures -arch=native)
else()
  set(architectures -gencode arch=compute_75,code=sm_75 -gencode arch=compute_80,code=sm_80
    -gencode arch=compute_90,code=[sm_90,compute_90])
endif()
execute_process(
  COMMAND "${NVCC}" -std=c++17 -O3 -shared -cudart static --threads 0 -fmad=false
    ${architectures} -Xcompiler -fPIC,-fvisibility=hidden -Xlinker --exclude-libs,ALL
    -isystem "${XLA_FFI_INCLUDE_DIR}" "${CMAKE_CURRENT_LIST_DIR}/all.cu" -o "${OUTPUT}"
  RESULT_VARIABLE failed OUTPUT_VARIABLE text ERROR_VARIABLE text)
if(failed)
  file(REMOVE "${OUTPUT}")
  string(SUBSTRING "${text}" 0 2000 text)
  message(WARNING "brainsim is built without its CUDA kernels: ${NVCC} failed.\n${text}")
endif()
